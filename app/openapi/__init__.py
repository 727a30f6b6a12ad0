"""The API description (OpenAPI 3.1), made out of the routes themselves: there is no second list to keep."""
