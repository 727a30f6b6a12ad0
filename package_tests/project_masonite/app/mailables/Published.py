from masonite.mail import Mailable


class Published(Mailable):
    def __init__(self, post):
        super().__init__()
        self.post = post

    def build(self):
        return self.subject(f"Published: {self.post.title}").view("mails/published", {"post": self.post})
