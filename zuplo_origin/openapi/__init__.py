"""The API description, made from routes, their guards and their controllers."""
