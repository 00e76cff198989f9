"""The console: pages for people, made on the server of what the gateway has."""
