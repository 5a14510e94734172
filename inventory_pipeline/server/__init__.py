"""The hub's HTTP side: webhooks come in, availability goes out, people look."""
