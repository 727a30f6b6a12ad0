"""User Model."""

from masonite.authentication import Authenticates
from masonite.authorization import Authorizes
from masonite.notification import Notifiable
from masoniteorm.models import Model
from masoniteorm.relationships import has_many


class User(Model, Authenticates, Authorizes, Notifiable):
    """User Model."""

    __fillable__ = ["name", "email", "password", "phone"]
    __hidden__ = ["password"]
    __auth__ = "email"

    @has_many("id", "author_id")
    def posts(self):
        from app.models.Post import Post

        return Post
