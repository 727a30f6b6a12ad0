from masonite.facades import Mail
from masonite.queues import Queueable

from app.mailables.Published import Published
from app.models.Post import Post


class PublishPost(Queueable):
    def __init__(self, post_id):
        self.post_id = post_id

    def handle(self):
        post = Post.find(self.post_id)
        post.published_at = post.created_at
        post.save()
        Mail.mailable(Published(post).to(post.author.email)).send()
