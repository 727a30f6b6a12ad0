class PostCreated:
    def __init__(self, post):
        self.post = post
