from masonite.routes import Route

ROUTES = [
    Route.post("/posts", "PostController@store").middleware("auth", "throttle:60/minute"),
    Route.put("/posts/@id", "PostController@update").middleware("auth", "members"),
]
