from masonite.providers import Provider

from app.events.PostCreated import PostCreated
from app.listeners.NotifyAuthor import NotifyAuthor
from app.models.Post import Post
from app.policies.PostPolicy import PostPolicy


class AppProvider(Provider):
    def __init__(self, application):
        self.application = application

    def register(self):
        self.application.make("event").listen(PostCreated, [NotifyAuthor])
        self.application.make("gate").register_policies([(Post, PostPolicy)])

    def boot(self):
        pass
