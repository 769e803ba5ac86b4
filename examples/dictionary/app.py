"""Notes in a dictionary of this process: no database, a lock, and a tag made of the content."""

from threading import Lock

from flask import Flask, abort, request

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource

app = Flask(__name__)
ETag(app)

notes = {"first": {"body": "one"}}
one_at_a_time = Lock()  # of this process: several workers need a lock that they share


@resource(etag=content_hash(dict), lock=lambda name: one_at_a_time)
def find_note(name):
    return notes.get(name)  # None: 404, and what create=True may make


@app.get("/notes/<name>")
@etag_resource(find_note)
def read_note(note):
    return note


@app.put("/notes/<name>")
@require_if_match(find_note, create=True)  # If-None-Match: * creates
def replace_note(note, name):
    if not (isinstance(request.json, dict) and isinstance(request.json.get("body"), str)):
        abort(400, "A note is an object that has a body, a text.")
    notes[name] = {"body": request.json["body"]}
    return notes[name], 200 if note else 201


@app.delete("/notes/<name>")
@require_if_match(find_note)
def delete_note(note, name):
    del notes[name]
    return "", 204
