"""The API description, generated from the routes and their controllers."""
