from masonite.routes import Route

ROUTES = [
    Route.get("/posts", "PostController@index").name("posts.index"),
    Route.get("/posts/@id", "PostController@show").name("posts.show"),
]
