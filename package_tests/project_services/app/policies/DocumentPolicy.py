from masonite.authorization import Policy


class Document:
    def __init__(self, owner):
        self.owner = owner


class DocumentPolicy(Policy):
    def view(self, user, document):
        return user["sub"] == document.owner

    def archive(self, user, document):
        return self.deny("Only the archivist archives documents", 404)
