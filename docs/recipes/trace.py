import json
import re
import sys
from contextlib import suppress
from datetime import datetime

def read(text):
    # gunicorn escapes quotes alone: a backslash of a client's own is doubled here. What cannot be read is left out.
    for each in (text, re.sub(r'\\(?!")', r"\\\\", text)):
        with suppress(ValueError):
            line = json.loads(each)
            yield {**line, "path": line["path"].partition("?")[0]}
            return

def at(line):
    return datetime.strptime(line["time"], "[%d/%b/%Y:%H:%M:%S %z]")

def state(tag):
    return re.sub(r"(\..*)?([-:]+(gzip|br|zstd|deflate))?$", "", tag.strip('W/"'))

lines = [line for text in sys.stdin for line in read(text)]
lost = next((line for line in lines if line["id"] == sys.argv[1]), None) or sys.exit("No request of that id is in the log.")
here = [line for line in lines if line["path"] == lost["path"]]
before = here[: here.index(lost)]
given = [line for line in before if line["status"] < 400 and state(line["etag"]) == state(lost["sent"]) != "-"]
copies = [line for line in given if line["client"] == lost["client"]]
writes = [line for line in here if line["status"] < 300 and line["method"] not in ("GET", "HEAD")]
later = before[before.index(given[-1]) + 1 :] if given else []
# Two that race are logged in any order: the winner is known by the tag that it made.
since = [line for line in writes if line in later or state(line["etag"]) == state(lost["etag"]) != "-"]
if state(lost["sent"]) == state(lost["etag"]) != "-":
    sys.exit(f"Nobody was first: {lost['sent']} is {lost['etag']}, and was altered on its way to the client, or back.")

print("refused  ", lost["time"], lost["client"], lost["id"], lost["method"], lost["path"])
for told, found in (("copy from", copies[-1:]), ("overtaken", since[:1])):
    for line in found:
        ago = int((at(lost) - at(line)).total_seconds())
        print(told, line["time"], line["client"], line["id"], line["method"], f"{ago} s before")
print("since then", len(since), "write(s); now", lost["etag"])
