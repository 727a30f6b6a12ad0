from masonite.facades import Queue

from app.jobs.PublishPost import PublishPost


class NotifyAuthor:
    def handle(self, event):
        Queue.push(PublishPost(event.post.id))
