"""The exact message for each mistake in a config; all mistakes are reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.config import ASK, CAMERA, MODEL, MUST_BE_ENCODED, TYPES, problems, write

from edged.config import addresses
from edged.config.load import ConfigError, load
from edged.core.answer_types import Grammar

BAD = {
    "no model": ("node: box\n", ["edged.yaml:1: model is missing"]),
    "unknown key": (MODEL + "camera: {}\n", ['edged.yaml:2: unknown key "camera". Did you mean "cameras"?']),
    "image with a typing error": (
        CAMERA + "    image: on_events\n",
        [
            'edged.yaml:5: camera "dock": image must be never, on_event, each, true or false, not "on_events". '
            'Did you mean "on_event"?'
        ],
    ),
    "unknown key below": (
        CAMERA + "    evry: 5s\n",
        ['edged.yaml:5: camera "dock": unknown key "evry". Did you mean "every"?'],
    ),
    "unknown key of a question": (
        ASK + "        awnser: yes_no\n",
        ['edged.yaml:8: camera "dock": question "gate": unknown key "awnser". Did you mean "answer"?'],
    ),
    "keys of a camera and of an alert in a question": (
        ASK + "        cron: 0 6 * * *\n        hours: 06:00-22:00\n        when: true\n",
        [
            'edged.yaml:8: camera "dock": question "gate": unknown key "cron"; it belongs to a camera; '
            "check the indentation",
            'edged.yaml:9: camera "dock": question "gate": unknown key "hours"; it belongs to a camera; '
            "check the indentation",
            'edged.yaml:10: camera "dock": question "gate": unknown key "when"; it belongs to alert; '
            "check the indentation",
        ],
    ),
    "keys of other places that are almost one of the camera": (
        CAMERA + "    region: gate\n    changed: true\n    url: pics\n",
        [
            'edged.yaml:5: camera "dock": unknown key "region". Did you mean "regions"?',
            'edged.yaml:6: camera "dock": unknown key "changed". Did you mean "when_changed"?',
            'edged.yaml:7: camera "dock": unknown key "url". Did you mean "source"?',
        ],
    ),
    "a password that is the text of a secret": (
        MODEL + 'mqtt: {username: me, password: "{secret:broker}"}\npage: {token: "{secret: page}"}\n',
        [
            "edged.yaml:2: mqtt: password must be {secret: NAME}, without quotes and with a space after the colon",
            "edged.yaml:3: page: token must be {secret: NAME}, without quotes and with a space after the colon",
        ],
    ),
    "wrong type": (
        CAMERA + "    image: yes\n",
        ['edged.yaml:5: camera "dock": image must be never, on_event, each, true or false, not "yes"'],
    ),
    "new_only of a camera that is no folder": (
        CAMERA.replace("pics", "usb:0") + "    new_only: true\n",
        ['edged.yaml:5: camera "dock": new_only is for folders only, but the source is usb:0'],
    ),
    "a number is no duration": (
        CAMERA + "    every: 30\n",
        ['edged.yaml:5: camera "dock": every needs a unit: 30s, 30m or 30h'],
    ),
    "hours that are no text": (
        CAMERA + "    hours: [06:00-22:00, 7]\n",
        ['edged.yaml:5: camera "dock": hours must be a time window such as 06:00-22:00 or mon-fri 06:00-22:00, not 7'],
    ),
    "cron that is no text": (
        CAMERA + "    cron: 5\n",
        ['edged.yaml:5: camera "dock": cron must be text, not 5'],
    ),
    "timezone that is no text": (
        MODEL + "timezone: 5\n",
        ["edged.yaml:2: timezone must be text, not 5"],
    ),
    "a size in words": (
        MODEL + "history: {max: lots}\n",
        ['edged.yaml:2: history: max must be a size such as 200MB or 2GB, not "lots"'],
    ),
    "bounds of an integer that are no integers": (
        ASK + "        answer: integer\n        range: [0.5, 4]\n",
        ['edged.yaml:9: camera "dock": question "gate": the bounds of an integer\'s range must be whole numbers'],
    ),
    "words of another answer than yes_no": (
        ASK + "        answer: integer\n        words: {true: Open, false: Shut}\n",
        ['edged.yaml:9: camera "dock": question "gate": words is valid only with answer: yes_no'],
    ),
    "words that cannot be a reply": (
        ASK + "        answer: yes_no\n        words: {true: ' Open', false: Shut}\n",
        [
            'edged.yaml:9: camera "dock": question "gate": words.true " Open" cannot be a reply; it must be one line '
            "without special tokens, and must not begin or end with a space"
        ],
    ),
    "an IPv6 address that is none": (
        MODEL + "mqtt: {url: 'mqtt://[::zz]:1883'}\nmetrics: '[::g]:9817'\n",
        [
            "edged.yaml:2: mqtt: url is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)",
            'edged.yaml:3: metrics must be an IP address and a port such as 127.0.0.1:9817, not "[::g]:9817"',
        ],
    ),
    "an empty user name": (
        MODEL + "mqtt: {url: 'mqtt://box', username: ''}\n",
        ["edged.yaml:2: mqtt: username is empty"],
    ),
    "top_p of nothing": (
        ASK + "        top_p: 0\n",
        ['edged.yaml:8: camera "dock": question "gate": top_p must be more than 0, not 0'],
    ),
    "no duration": (
        CAMERA + "    max_age: soon\n",
        ['edged.yaml:5: camera "dock": max_age must be a duration such as 30s, 10m or 1h, not "soon"'],
    ),
    "a page of nothing": (
        MODEL + "page:\n",
        ['edged.yaml:2: page has no value; write one such as {listen: "127.0.0.1:8311"}, or remove the key'],
    ),
    "metrics of nothing": (
        MODEL + "metrics:\n",
        ['edged.yaml:2: metrics has no value; write one such as "127.0.0.1:9817", or remove the key'],
    ),
    "a node without a name": (
        MODEL + "node:\n",
        ["edged.yaml:2: node has no value; write one such as dock-box, or remove the key"],
    ),
    "page and metrics at one address": (
        MODEL + "page: {}\nmetrics: 127.0.0.1:8311\n",
        ["edged.yaml:3: metrics and page cannot both use port 8311; change one of them"],
    ),
    "page and metrics at one port of all interfaces": (
        MODEL + "page: {listen: 127.0.0.1:9000}\nmetrics: 0.0.0.0:9000\n",
        ["edged.yaml:3: metrics and page cannot both use port 9000; change one of them"],
    ),
    "page and metrics at one address, written in two ways": (
        MODEL + "page: {listen: '[::1]:9000'}\nmetrics: '[0:0::1]:9000'\n",
        ["edged.yaml:3: metrics and page cannot both use port 9000; change one of them"],
    ),
    "a history of nothing": (
        MODEL + "history:\n",
        ["edged.yaml:2: history has no value; it must be a mapping such as {keep: 7d, max: 200MB}, or false"],
    ),
    "a history that is switched on": (
        MODEL + "history: true\n",
        ["edged.yaml:2: history must be a mapping such as {keep: 7d, max: 200MB}, or false, not true"],
    ),
    "frames of nothing": (
        MODEL + "frames:\n",
        ["edged.yaml:2: frames has no value; it must be a mapping such as {sample: 0.02, max: 2GB}, or false"],
    ),
    "frames that are switched on": (
        MODEL + "frames: true\n",
        ["edged.yaml:2: frames must be a mapping such as {sample: 0.02, max: 2GB}, or false, not true"],
    ),
    "frames in percent, and a size without a unit": (
        MODEL + "frames: {sample: 2, max: 2, unsre: true}\n",
        [
            "edged.yaml:2: frames: max needs a unit: 2MB or 2GB",
            "edged.yaml:2: frames: sample must be at most 1, not 2",
            'edged.yaml:2: frames: unknown key "unsre". Did you mean "unsure"?',
        ],
    ),
    "frames that keep nothing": (
        MODEL + "frames: {unsure: false, changed: false, sample: 0}\n",
        [
            "edged.yaml:2: frames keeps no frame: unsure and changed are false, and sample is 0; "
            "write frames: false for none"
        ],
    ),
    "a key of the frames elsewhere": (
        MODEL + "sample: 0.1\n",
        ['edged.yaml:2: unknown key "sample"; it belongs to frames; check the indentation'],
    ),
    "Home Assistant without a value": (
        MODEL + "homeassistant:\n",
        [
            "edged.yaml:2: homeassistant has no value; it must be true, false, or a mapping such as "
            "{prefix: homeassistant}"
        ],
    ),
    "Home Assistant as a text": (
        MODEL + "homeassistant: on\n",
        [
            'edged.yaml:2: homeassistant must be true, false, or a mapping such as {prefix: homeassistant}, not "on"',
        ],
    ),
    "a discovery prefix with a wildcard, and a misspelt key": (
        MODEL + "homeassistant: {prefix: ha/+, prefx: ha}\n",
        [
            'edged.yaml:2: homeassistant: prefix "ha/+" is not a topic prefix (names joined by /, without + and #)',
            'edged.yaml:2: homeassistant: unknown key "prefx". Did you mean "prefix"?',
        ],
    ),
    "sizes and durations of the history": (
        MODEL + "history: {keep: 7 days, max: 200 mb}\n",
        [
            'edged.yaml:2: history: keep must be a duration such as 30s, 10m or 1h, not "7 days"; write 7d',
            'edged.yaml:2: history: max must be a size such as 200MB or 2GB, not "200 mb"; write 200MB',
        ],
    ),
    "a size without a unit, and a duration out of range": (
        MODEL + "history: {keep: 10s, max: 200}\n",
        [
            'edged.yaml:2: history: keep "10s" is out of range (1m to 3650d)',
            "edged.yaml:2: history: max needs a unit: 200MB or 200GB",
        ],
    ),
    "sizes that cannot be": (
        MODEL + "history: {max: 2TiB, keep: 4000d}\n",
        [
            'edged.yaml:2: history: keep "4000d" is out of range (1m to 3650d)',
            'edged.yaml:2: history: max must be a size such as 200MB or 2GB, not "2TiB"; write 2000GB',
        ],
    ),
    "a size that is too small": (
        MODEL + "history: {max: 900kB}\n",
        ['edged.yaml:2: history: max "900kB" is out of range (1MB to 1000GB)'],
    ),
    "a key of the history elsewhere": (
        MODEL + "keep: 7d\n",
        ['edged.yaml:2: unknown key "keep"; it belongs to history; check the indentation'],
    ),
    "a page that is switched on": (
        MODEL + "page: true\n",
        ['edged.yaml:2: page must be a mapping such as {listen: "127.0.0.1:8311"}, not true'],
    ),
    "a page that other machines can reach, without a token": (
        MODEL + "page: {\n  listen: 0.0.0.0:8311}\n",
        ["edged.yaml:3: page: other machines can reach 0.0.0.0:8311, so the page needs token: {secret: page-token}"],
    ),
    "a page that other machines can reach over IPv6, with an empty token": (
        MODEL + 'page: {listen: "[::]:8311", token: ""}\n',
        [
            "edged.yaml:2: page: other machines can reach [::]:8311, so the page needs token: {secret: page-token}",
            "edged.yaml:2: page: token is empty",
        ],
    ),
    "a page at a name": (
        MODEL + "page: {listen: localhost:8311}\n",
        [
            'edged.yaml:2: page: listen must be an IP address and a port such as 127.0.0.1:8311, not "localhost:8311"; '
            "write 127.0.0.1:8311"
        ],
    ),
    "a page with names that are none": (
        MODEL
        + "page: {hosts: [box.lan, http://box.lan/, 'box.lan:80', '*.lan', '[::1]:80', '[::1', 'fe80::1%eth0', "
        + "'[10.0.0.9]', '[box]', 'abc:80']}\n",
        [
            "edged.yaml:2: page: hosts[1] must be the name or IP address of a host, without a port or zone, not a URL",
            'edged.yaml:2: page: hosts[2] must be the name or IP address of a host, without a port or zone, not "box.lan:80"',
            'edged.yaml:2: page: hosts[3] must be the name or IP address of a host, without a port or zone, not "*.lan"',
            'edged.yaml:2: page: hosts[4] must be the name or IP address of a host, without a port or zone, not "[::1]:80"',
            'edged.yaml:2: page: hosts[5] must be the name or IP address of a host, without a port or zone, not "[::1"',
            'edged.yaml:2: page: hosts[6] must be the name or IP address of a host, without a port or zone, not "fe80::1%eth0"',
            'edged.yaml:2: page: hosts[7] must be the name or IP address of a host, without a port or zone, not "[10.0.0.9]"',
            'edged.yaml:2: page: hosts[8] must be the name or IP address of a host, without a port or zone, not "[box]"',
            'edged.yaml:2: page: hosts[9] must be the name or IP address of a host, without a port or zone, not "abc:80"',
        ],
    ),
    "a page with an unknown key": (
        MODEL + "page: {tokens: x}\n",
        ['edged.yaml:2: page: unknown key "tokens". Did you mean "token"?'],
    ),
    "a page with a token that is no text": (
        MODEL + "page: {token: [a]}\n",
        ["edged.yaml:2: page: token must be text or {secret: NAME}"],
    ),
    "metrics without an address": (
        MODEL + "metrics: 9817\n",
        [
            "edged.yaml:2: metrics must be an IP address and a port such as 127.0.0.1:9817, not 9817; "
            "write 127.0.0.1:9817"
        ],
    ),
    "metrics at a name": (
        MODEL + "metrics: localhost:9817\n",
        [
            'edged.yaml:2: metrics must be an IP address and a port such as 127.0.0.1:9817, not "localhost:9817"; '
            "write 127.0.0.1:9817"
        ],
    ),
    "metrics at a URL": (
        MODEL + "metrics: http://127.0.0.1:9817/metrics\n",
        ["edged.yaml:2: metrics must be an IP address and a port such as 127.0.0.1:9817, not a URL"],
    ),
    "metrics at no port": (
        MODEL + "metrics: 0.0.0.0:70000\n",
        ['edged.yaml:2: metrics must be an IP address and a port such as 127.0.0.1:9817, not "0.0.0.0:70000"'],
    ),
    "metrics that are switched on": (
        MODEL + "metrics: true\n",
        ["edged.yaml:2: metrics must be an IP address and a port such as 127.0.0.1:9817, not true"],
    ),
    "two schedules": (
        CAMERA + '    every: 5s\n    cron: "* * * * *"\n',
        ['edged.yaml:6: camera "dock": every and cron both say when to look; keep one of them'],
    ),
    "cron of four fields": (
        CAMERA + '    cron: "* * * *"\n',
        ['edged.yaml:5: camera "dock": cron "* * * *" has 4 fields; cron has five: minute hour day month weekday'],
    ),
    "cron of a day that never comes": (
        CAMERA + '    cron: "0 0 30 2 *"\n',
        ['edged.yaml:5: camera "dock": cron "0 0 30 2 *" never occurs: this date does not exist in any year'],
    ),
    "cron outside of the hours": (
        CAMERA + '    cron: "0 3 * * *"\n    hours: mon-fri 06:00-22:00\n',
        ['edged.yaml:5: camera "dock": cron "0 3 * * *" never occurs within hours'],
    ),
    "no value": (
        CAMERA + "    every:\n    title:\n    mask:\n",
        [
            'edged.yaml:6: camera "dock": title has no value; it must be text',
            'edged.yaml:7: camera "dock": mask has no value; it must be a list such as [{box: [0, 0.6, 0.3, 1]}]',
        ],
    ),
    "a mapping that is none": (
        MODEL + "cameras: {dock: 5}\nquestions: {people: [1]}\n",
        [
            'edged.yaml:2: camera "dock" must be a mapping such as {source: "usb:0"}, not 5',
            'edged.yaml:3: question "people" must be a mapping such as '
            "{prompt: How many people?, answer: integer}, not a list",
        ],
    ),
    "longer than a name": (
        f"node: {'n' * 65}\n" + MODEL,
        ["edged.yaml:1: node has more than 64 characters"],
    ),
    "an unknown core": (
        "model: {path: m, cores: {text: x}}\n",
        [
            'edged.yaml:1: model: cores.text "x" is not a valid core setting; write "0:0" (cluster:core), "1:0:3" '
            "(device:cluster:core), multi:0, global4:1, global4:1:0, global8 or global8:1"
        ],
    ),
    "hours": (
        CAMERA + "    hours: mon-fry 06:00-22:00\n",
        [
            'edged.yaml:5: camera "dock": hours "mon-fry 06:00-22:00": '
            '"fry" is not a day (mon, tue, wed, thu, fri, sat, sun)'
        ],
    ),
    "timezone": (
        "timezone: Asia/Soul\n" + MODEL,
        ['edged.yaml:1: timezone "Asia/Soul" is not a time zone (such as Asia/Seoul or UTC)'],
    ),
    "node": (
        "node: Dock Box\n" + MODEL,
        ['edged.yaml:1: node "Dock Box" may contain only a-z, 0-9, _ and -, because it becomes part of every topic'],
    ),
    "prefix": (
        MODEL + "mqtt: {prefix: edged/#}\n",
        ['edged.yaml:2: mqtt: prefix "edged/#" is not a topic prefix (names joined by /, without + and #)'],
    ),
    "url": (
        MODEL + "mqtt: {url: broker.lan}\n",
        ["edged.yaml:2: mqtt: url is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)"],
    ),
    "a client certificate without TLS": (
        MODEL + "mqtt: {client_certificate: {certificate: a.pem, key: a.key}}\n",
        ["edged.yaml:2: mqtt: client_certificate is for mqtts:// only"],
    ),
    "a client certificate without its key": (
        MODEL + "mqtt: {url: mqtts://b, client_certificate: box.pem}\n",
        [
            "edged.yaml:2: mqtt: client_certificate must be a mapping such as "
            '{certificate: box.pem, key: {secret: box-key}}, not "box.pem"'
        ],
    ),
    "a private key in the config": (
        MODEL + 'mqtt: {url: mqtts://b, client_certificate: {certificate: a, key: "-----BEGIN PRIVATE KEY-----"}}\n',
        ["edged.yaml:2: mqtt: client_certificate.key must be the path of a file or {secret: NAME}, not the key itself"],
    ),
    "insecure without TLS": (
        MODEL + "mqtt: {insecure: true}\n",
        ["edged.yaml:2: mqtt: insecure is for mqtts:// only"],
    ),
    "insecure with a CA": (
        MODEL + "mqtt: {url: mqtts://b, insecure: true, ca: ca.pem}\n",
        ["edged.yaml:2: mqtt: insecure: true does not use the CA; keep one of the two"],
    ),
    "password in the url": (
        MODEL + 'mqtt: {url: "mqtt://me:hunter2@broker"}\n',
        [
            "edged.yaml:2: mqtt: url must not contain a user or password: "
            "write them as username: and password: {secret: NAME}"
        ],
    ),
    "secret in a folder": (
        MODEL + "mqtt: {username: me, password: {secret: ../x}}\n",
        ["edged.yaml:2: mqtt: password must be {secret: NAME}, where NAME is a file name without a folder"],
    ),
    "not a type": (
        ASK + "        answer: colour\n",
        [
            f'edged.yaml:8: camera "dock": question "gate": answer "colour" is not a type ({TYPES}). Did you mean a list?'
        ],
    ),
    "misspelt type": (
        ASK + "        answer: yesno\n",
        [
            f'edged.yaml:8: camera "dock": question "gate": answer "yesno" is not a type ({TYPES}). Did you mean "yes_no"?'
        ],
    ),
    "one choice": (
        ASK + "        answer: [open]\n",
        ['edged.yaml:8: camera "dock": question "gate": answer needs at least two choices, separated by commas'],
    ),
    "json without schema": (
        ASK + "        answer: json\n",
        ['edged.yaml:8: camera "dock": question "gate": answer json needs its schema: {json: SCHEMA}'],
    ),
    "a schema that is a name": (
        ASK + "        answer: {json: object}\n",
        [
            'edged.yaml:8: camera "dock": question "gate": answer json needs a JSON schema '
            'such as {type: object, properties: {people: {type: integer}}}, not "object"'
        ],
    ),
    "range of a text": (
        ASK + "        range: [0, 5]\n",
        ['edged.yaml:8: camera "dock": question "gate": range is valid only with answer: integer or answer: number'],
    ),
    "range of many digits": (
        ASK + "        answer: integer\n        range: [0, 1000000000]\n",
        ['edged.yaml:9: camera "dock": question "gate": the bounds of a range must have at most 9 digits'],
    ),
    "range of more decimals than an answer": (
        ASK + "        answer: number\n        range: [0.1234567, 0.5]\n",
        [
            'edged.yaml:9: camera "dock": question "gate": the bounds of a range must have at most 6 decimals, '
            "as the answers have"
        ],
    ),
    "confidence": (
        ASK + "        answer: yes_no\n        min_confidence: 70\n",
        ['edged.yaml:9: camera "dock": question "gate": min_confidence must be at most 1, not 70'],
    ),
    "confidence of a text": (
        ASK + "        min_confidence: 0.7\n",
        [
            'edged.yaml:8: camera "dock": question "gate": a text answer has no confidence; choose another type for answer'
        ],
    ),
    "yes is a word": (
        ASK + "        answer: yes_no\n        alert: {when: yes}\n",
        ['edged.yaml:9: camera "dock": question "gate": alert.when "yes" is not a possible answer (true, false)'],
    ),
    "when out of range": (
        ASK + "        answer: integer\n        range: [0, 5]\n        alert: {when: 6}\n",
        [
            'edged.yaml:10: camera "dock": question "gate": alert.when 6 is not a possible answer (whole numbers from 0 to 5)'
        ],
    ),
    "special token": (
        CAMERA + '    ask: {gate: {prompt: "Open?<|im_end|>"}}\n',
        [
            'edged.yaml:5: camera "dock": question "gate": prompt contains "<|im_end|>", '
            "which is a special token of the model"
        ],
    ),
    "no prompt": (
        "questions: {people: {prompt: How many?}}\n" + CAMERA + "    ask: {peple: {}}\n",
        [
            'edged.yaml:6: camera "dock": question "peple": has no prompt, '
            'and no shared question has this name. Did you mean "people"?'
        ],
    ),
    "two of one name": (
        ASK + "        then: {gate: {prompt: Sure?}}\n",
        ['edged.yaml:8: camera "dock": question "gate": duplicate question name "gate" (first in line 6)'],
    ),
    "wildcards": (
        MODEL + 'cameras: {"a+b": {source: pics, ask: {"c#": {prompt: x}, "d/e": {prompt: x}}}}\n',
        [
            f'edged.yaml:2: {kind} "{name}": a name consists of a-z, 0-9, _ and -, '
            f'because it becomes part of a topic. Did you mean "{valid}"?'
            for kind, name, valid in (("camera", "a+b", "a-b"), ("question", "c#", "c"), ("question", "d/e", "d-e"))
        ],
    ),
    "reserved names": (
        MODEL
        + "cameras: {bridge: {source: pics, ask: {"
        + ", ".join(f"{name}: {{prompt: x}}" for name in ("late", "image", "active", "availability", "event"))
        + "}}}\n",
        ['edged.yaml:2: camera "bridge": this name is reserved']
        + [
            f'edged.yaml:2: question "{name}": this name is reserved'
            for name in ("active", "availability", "event", "image", "late")
        ],
    ),
    "long name": (
        MODEL + f"cameras: {{{'c' * 65}: {{source: pics}}}}\n",
        [f'edged.yaml:2: camera "{"c" * 59}…": a name has at most 64 characters'],
    ),
    "title of two lines": (
        CAMERA + '    title: "Dock\\n2"\n',
        ['edged.yaml:5: camera "dock": title must be a single line'],
    ),
    "control character": (
        CAMERA + '    ask: {gate: {prompt: "Open\\0?"}}\n',
        ['edged.yaml:5: camera "dock": question "gate": prompt contains a control character (U+0000)'],
    ),
    "long prompt": (
        CAMERA + f"    ask: {{gate: {{prompt: {'x' * 8001}}}}}\n",
        ['edged.yaml:5: camera "dock": question "gate": prompt has 8001 characters; the limit is 8000'],
    ),
    "too often": (
        CAMERA + "    every: 99ms\n",
        ['edged.yaml:5: camera "dock": every "99ms" is out of range (100ms to 31d)'],
    ),
    "too seldom": (
        CAMERA + "    every: 99999999999h\n",
        ['edged.yaml:5: camera "dock": every "99999999999h" is out of range (100ms to 31d)'],
    ),
    "many digits": (
        ASK + f"        max_new_tokens: {'9' * 5000}\n",
        [
            'edged.yaml:8: camera "dock": question "gate": '
            "max_new_tokens is not a finite number of at most 32 characters"
        ],
    ),
    "not finite": (
        ASK + "        answer: number\n        range: [0, .inf]\n",
        ['edged.yaml:9: camera "dock": question "gate": range[1] is not a finite number of at most 32 characters'],
    ),
    "one bound": (
        ASK + "        answer: number\n        range: [0]\n",
        ['edged.yaml:9: camera "dock": question "gate": range has too few entries; write a list such as [0, 40]'],
    ),
    "schema without properties": (
        ASK + "        answer: {json: {type: object, properties: 5}}\n",
        ['edged.yaml:8: camera "dock": question "gate": answer has a JSON schema whose properties are not a mapping'],
    ),
    "empty password": (
        MODEL + 'mqtt: {username: me, password: ""}\n',
        ["edged.yaml:2: mqtt: password is empty"],
    ),
    "source": (
        MODEL + 'cameras: {dock: {source: "ftp://me:hunter2@host/x"}}\n',
        [f'edged.yaml:2: camera "dock": source must be {addresses.SOURCES}'],
    ),
    "no scheme": (
        MODEL + 'cameras: {dock: {source: "me:hunter2@host/x"}}\n',
        [f'edged.yaml:2: camera "dock": source must be {addresses.SOURCES}'],
    ),
    "not a USB camera": (
        MODEL + "cameras: {dock: {source: usb:front}}\n",
        [
            'edged.yaml:2: camera "dock": source is not a USB camera: '
            "write usb: and a number, or usb: and a path in /dev, without a space"
        ],
    ),
    "no host": (
        MODEL + 'cameras: {dock: {source: "rtsp:///stream1"}}\n',
        ['edged.yaml:2: camera "dock": source has no host (write it like rtsp://10.0.0.9/stream1)'],
    ),
    "impossible host": (
        MODEL + f"cameras: {{a: {{source: 'rtsp://{'h' * 64}/'}}, b: {{source: 'rtsp://a..b/'}}}}\n",
        [
            f'edged.yaml:2: camera "{name}": source has an invalid host: it is a name or an IP address, IPv6 in [], '
            "without a space"
            for name in "ab"
        ],
    ),
    "same words": (
        ASK + "        answer: yes_no\n        words: {true: A, false: A}\n",
        ['edged.yaml:9: camera "dock": question "gate": words must differ for true and false'],
    ),
    "secret elsewhere": (
        MODEL + 'cameras: {dock: {source: "rtsp://me:{secret:../x}@cam/s"}}\n',
        [
            'edged.yaml:2: camera "dock": source contains an invalid secret; write {secret:NAME}, '
            "where NAME is a file name without a folder"
        ],
    ),
    "no source": (MODEL + "cameras: {dock: {}}\n", ['edged.yaml:2: camera "dock": source is missing']),
    "mask": (
        CAMERA + "    mask: [{polygon: [[0, 0], [1, 1.5], [0, 1]]}]\n",
        [
            'edged.yaml:5: camera "dock": mask[0].polygon contains 1.5; '
            "use fractions of the picture's width and height, from 0 to 1, not pixels"
        ],
    ),
    "a mask of no shape": (
        CAMERA + "    mask: [{}, {box: [0.5, 0, 0.2, 1]}]\n",
        [
            'edged.yaml:5: camera "dock": a box is [left, top, right, bottom], with left < right and top < bottom',
            'edged.yaml:5: camera "dock": mask[0] must be either {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}',
        ],
    ),
    "a mask without area": (
        CAMERA
        + "    mask:\n"
        + "      - polygon: [[0, 0.6], [0.3, 0.6], [1, 0.6]]\n"
        + "      - polygon: [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.7, 0.7]]\n"
        + "      - polygon: [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]\n"
        + "      - polygon: [[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]\n",
        [
            f'edged.yaml:{line}: camera "dock": the polygon has no area, or its sides cross into halves that cancel; '
            "write its corners in their order around what it masks"
            for line in (6, 7, 8, 9)
        ],
    ),
    "language": (
        "language: de\n" + MODEL,
        ['edged.yaml:1: language must be en or ko, not "de"'],
    ),
    "version": ("version: 2\n" + MODEL, ["edged.yaml:1: version must be 1, not 2"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(tmp_path: Path, case: str):
    text, sentences = BAD[case]
    assert problems(tmp_path, text) == sentences


def test_a_problem_begins_with_the_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, "node: Box\n" + MODEL)
    monkeypatch.chdir(tmp_path)
    beginnings = []
    for given in (path, Path("edged.yaml"), Path("..", tmp_path.name, "edged.yaml")):
        with pytest.raises(ConfigError) as caught:
            load(given)
        beginnings.append(caught.value.problems[0].partition(":1: ")[0])
    assert beginnings == [f"{tmp_path}/edged.yaml", "edged.yaml", f"../{tmp_path.name}/edged.yaml"]


def no_pattern(grammar: Grammar) -> str | None:
    """A compiler of grammars that knows no pattern."""
    return "patterns are not known" if '"pattern"' in grammar.body else None


BAD_SCHEMA = """\
        answer:
          json:
            type: object
            properties:
              plate:
                type: string
                pattern: "("
              colour: {type: string}
"""


def test_a_schema_that_cannot_be_compiled_is_reported_at_the_key_that_causes_it(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "nod: box\n" + ASK + BAD_SCHEMA), no_pattern)
    assert caught.value.problems == [
        f'{tmp_path}/edged.yaml:1: unknown key "nod". Did you mean "node"?',
        f'{tmp_path}/edged.yaml:15: camera "dock": question "gate": answer.json.properties.plate.pattern '
        "cannot be compiled to a grammar: patterns are not known",
    ]


def test_a_schema_of_a_shared_question_is_reported_once_and_where_it_is(tmp_path: Path):
    text = "questions: {plate: {prompt: x, answer: {json: {type: string, pattern: x}}}}\n" + MODEL
    text += "cameras: {a: {source: pics, ask: {plate: {}}}, b: {source: pics, ask: {plate: {}}}}\n"
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), no_pattern)
    assert caught.value.problems == [
        f'{tmp_path}/edged.yaml:1: question "plate": answer.json.pattern '
        "cannot be compiled to a grammar: patterns are not known"
    ]


def test_all_problems_are_reported_at_once(tmp_path: Path):
    text = (
        "".join(BAD[case][0].removeprefix(MODEL) for case in ("unknown key", "url")) + ASK + "        answer: colour\n"
    )
    assert [line.split(": ")[0] for line in problems(tmp_path, text)] == [
        "edged.yaml:1",
        "edged.yaml:2",
        "edged.yaml:10",
    ]


def test_a_problem_of_a_shared_question_is_reported_once_and_where_it_is(tmp_path: Path):
    text = "questions: {people: {prompt: How many?, answer: nummer}}\n" + MODEL
    text += "cameras: {a: {source: pics, ask: {people: {}}}, b: {source: pics, ask: {people: {}}}}\n"
    assert problems(tmp_path, text) == [
        f'edged.yaml:1: question "people": answer "nummer" is not a type ({TYPES}). Did you mean "number"?'
    ]


def test_a_config_named_by_its_folder_is_named_in_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for place in (".", "/"):
        with pytest.raises(ConfigError) as caught:
            load(Path(place))
        assert caught.value.problems == [f"{place}: is not a regular file"]


def test_a_form_error_hides_no_other_problem(tmp_path: Path):
    text = (
        "nod: box\n"
        "model: {path: m, workers: [{text: 0:0}], cores: {text: 0:0, vision: 0:1}, fit: squeeze}\n"
        "mqtt: {password: hunter2, prefix: a//b}\n"
        "questions:\n"
        "  count: {answer: integer}\n"
        "  many: {prompt: How many?, answer: nummer}\n"
        "cameras:\n"
        "  one: {source: ftp://x, every: 5, cron: '* * * *', ask: {gate: {prompt: Open?, answer: yes_no, alert: {when: 5}}}}\n"
        "  two: {source: 'rtsp://a:b@c@d/', every: 5s, cron: '* * * * *', colour: red}\n"
        "  three: 5\n"
        "  four: {source: pics, ask: {nothing: {}, many: {}, then: 7, bad!: {prompt: x, range: [0, 1], top_p: 2}}}\n"
        "  five: {source: pics, ask: {a: {prompt: x, answer: oops, then: {b: {when: 3, prompt: y, words: {true: A}}}}}}\n"
    )
    assert [sentence.removeprefix("edged.yaml:") for sentence in problems(tmp_path, text)] == [
        '1: unknown key "nod". Did you mean "node"?',
        "2: model: cores and workers both say where the model runs; keep one of them",
        '2: model: fit must be stretch or letterbox, not "squeeze"',
        "3: mqtt: password without a username",
        '3: mqtt: prefix "a//b" is not a topic prefix (names joined by /, without + and #)',
        '5: question "count": prompt is missing',
        f'6: question "many": answer "nummer" is not a type ({TYPES}). Did you mean "number"?',
        '8: camera "one": cron "* * * *" has 4 fields; cron has five: minute hour day month weekday',
        '8: camera "one": every needs a unit: 5s, 5m or 5h',
        '8: camera "one": question "gate": alert.when 5 is not a possible answer (true, false)',
        f'8: camera "one": source must be {addresses.SOURCES}',
        '9: camera "two": every and cron both say when to look; keep one of them',
        '9: camera "two": source ' + MUST_BE_ENCODED,
        '9: camera "two": unknown key "colour"',
        '10: camera "three" must be a mapping such as {source: "usb:0"}, not 5',
        '11: camera "four": question "bad!": range is valid only with answer: integer or answer: number',
        '11: camera "four": question "bad!": top_p must be at most 1, not 2',
        '11: camera "four": question "nothing": has no prompt, and no shared question has this name',
        '11: camera "four": question "then" must be a mapping such as {prompt: How many people?, answer: integer}, not 7',
        '11: question "bad!": a name consists of a-z, 0-9, _ and -, because it becomes part of a topic. Did you mean "bad"?',
        f'12: camera "five": question "a": answer "oops" is not a type ({TYPES}). Did you mean a list?',
        '12: camera "five": question "a": follow-up "b": words.false is missing',
    ]


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        (f"model: {{path: {'m' * 3000}}}\n", "model: folder /", "mm cannot be read: file name too long"),
        (f"model: {{path: {'m/' * 1500}}}\n", "model: folder /", "m/m does not exist"),
        (f"{MODEL}mqtt: {{username: u, password: {{secret: {'s' * 3000}}}}}\n", 'mqtt: the secret "ss', "ss)"),
        (CAMERA.replace("pics", "p" * 3000), 'camera "dock": source /', "pp cannot be read: file name too long"),
    ],
    ids=["folder", "path", "secret", "source"],
)
def test_a_message_about_a_long_value_shows_its_beginning_and_what_is_wrong(
    text: str, begins: str, ends: str, tmp_path: Path
) -> None:
    warnings = [str(each).split(": ", 1)[1] for each in load(write(tmp_path, text)).warnings]
    [message] = [each for each in warnings if each.startswith(begins)]
    assert message.endswith(ends)
    assert "…" in message
    assert len(message) <= 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {path: 'https://me:hunter2@host/m'}\n", "model: path must be a path, not a URL"),
        (
            f"timezone: mqtt://me:hunter2@host\n{MODEL}",
            "timezone must be a time zone (such as Asia/Seoul or UTC), not a URL",
        ),
        (
            CAMERA + "    cron: me:hunter2@host\n",
            'camera "dock": cron must have five fields (minute hour day month weekday), not an address',
        ),
        (CAMERA + "    cron: rtsp://me:hunter2@host\n", "(minute hour day month weekday), not a URL"),
    ],
)
def test_an_address_in_the_place_of_something_else_is_not_shown(text: str, message: str, tmp_path: Path) -> None:
    shown = problems(tmp_path, text)
    assert "hunter2" not in "".join(shown)
    assert shown[0].endswith(message)
