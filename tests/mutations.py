"""Checks that may not be lost: each one taken away from the source, and the tests that then turn red.

`tests/test_mutations.py` applies them to a copy. A mutation is the smallest change that removes one check and leaves
the program running; its text stands exactly once in its file.
"""

from __future__ import annotations

from typing import NamedTuple

LOOPBACK = "tests/oauth/test_loopback.py::"
AUTHORIZE = "tests/oauth/test_authorize.py::"
BROWSER = "tests/oauth/test_browser.py::"
PASTE = "tests/oauth/test_paste.py::"
DEVICE = "tests/oauth/test_device.py::"
OF_NO_USE = "registered an application that is of no use: "
REGISTRATION = "tests/oauth/test_registration.py::"
STRAY = f"{LOOPBACK}test_a_stray_request_changes_nothing"


class Mutation(NamedTuple):
    name: str
    file: str  # below src/git_credential_forge
    text: str
    replacement: str
    red: tuple[str, ...]


MUTATIONS = (
    # The listener: who may speak, and what is heard.
    Mutation(
        "state is not compared",
        "oauth/wire.py",
        "[attempt for attempt in attempts if attempt.state == answered]",
        "list(attempts)",
        (f"{STRAY}[state of another]", f"{STRAY}[error with a wrong state]"),
    ),
    Mutation(
        "a refusal needs no state anywhere",
        "oauth/wire.py",
        "if by_path and [(key",
        "if [(key",
        (f"{LOOPBACK}test_an_error_without_a_state", f"{STRAY}[error without state]"),
    ),
    Mutation(
        "the beginning of a state is enough",
        "oauth/wire.py",
        "if attempt.state == answered]",
        "if attempt.state.reveal().startswith(answered.reveal())]",
        (f"{STRAY}[state cut]", f"{STRAY}[state empty]"),
    ),
    Mutation(
        "Host is not compared",
        "oauth/loopback.py",
        'if request.headers.get("host") != self.host:',
        "if False:",
        (
            f"{STRAY}[Host of another name]",
            f"{STRAY}[no Host]",
            f"{LOOPBACK}test_the_start_address_is_for_our_host_alone",
        ),
    ),
    Mutation(
        "the port of Host is not compared",
        "oauth/loopback.py",
        'if request.headers.get("host") != self.host:',
        'if request.headers.get("host", "").partition(":")[0] != self.host.partition(":")[0]:',
        (f"{STRAY}[Host with another port]", f"{STRAY}[Host without port]"),
    ),
    Mutation(
        "a second Host is passed over",
        "oauth/loopback.py",
        '(name == "host" and name in headers)',
        "False",
        (f"{STRAY}[Host twice, right last]", f"{STRAY}[Host twice, both right]"),
    ),
    Mutation(
        "the path is not compared",
        "oauth/loopback.py",
        "if request.path != self._path:",
        "if False:",
        (
            f"{STRAY}[other path with the right query]",
            f"{STRAY}[favicon]",
            f"{LOOPBACK}test_the_registered_path_and_no_other[/callback-/callback]",
        ),
    ),
    Mutation(
        "the path may go on",
        "oauth/loopback.py",
        "if request.path != self._path:",
        "if not request.path.startswith(self._path):",
        (f"{LOOPBACK}test_the_registered_path_and_no_other[/a/b-/a/b]", f"{STRAY}[path with a dot]"),
    ),
    Mutation(
        "any method will do",
        "oauth/loopback.py",
        'if request.method != "GET":',
        "if False:",
        (f"{STRAY}[HEAD]", f"{STRAY}[OPTIONS]", f"{STRAY}[POST]", f"{STRAY}[PUT]"),
    ),
    Mutation(
        "a prefetch counts",
        "oauth/loopback.py",
        'if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):',
        "if False:",
        (f"{STRAY}[prefetch]", f"{STRAY}[prerender]", f"{STRAY}[prefetch of older browsers]"),
    ),
    Mutation(
        "parameters may come twice",
        "oauth/wire.py",
        "len(keys) != len(set(keys))",
        "not keys",
        (f"{STRAY}[state twice, wrong and right]", f"{STRAY}[code twice]", f"{STRAY}[iss twice]"),
    ),
    Mutation(
        "code and error may come together",
        "oauth/wire.py",
        'not fitting or ("code" in found) == ("error" in found)',
        'not fitting or not {"code", "error"} & set(found)',
        (f"{STRAY}[code and error together]",),
    ),
    Mutation(
        "any code will do",
        "oauth/wire.py",
        'if not _VISIBLE.fullmatch(found["code"]):',
        "if False:",
        (f"{STRAY}[code empty]", f"{STRAY}[code with a line end]"),
    ),
    Mutation(
        "iss is not compared",
        "oauth/wire.py",
        'if not _fits(issuer, found.get("iss")):',
        "if False:",
        (
            f"{LOOPBACK}test_another_issuer[code-https://evil.example]",
            f"{AUTHORIZE}test_another_server_s_answer",
        ),
    ),
    Mutation(
        "a callback counts again",
        "oauth/loopback.py",
        "if self._verdict or self._waiting or self._bell < 0:",
        "if self._bell < 0:",
        (f"{LOOPBACK}test_replay_while_the_first_one_waits", f"{LOOPBACK}test_replay_afterwards"),
    ),
    Mutation(
        "the start address is good for ever",
        "oauth/loopback.py",
        "self._starts.remove(nonce)",
        "pass",
        (
            f"{LOOPBACK}test_the_start_address_is_good_once",
            f"{LOOPBACK}test_of_many_who_come_at_once_one_is_let_through",
        ),
    ),
    Mutation(
        "the start address may have a query",
        "oauth/loopback.py",
        "if not request.query and hmac",
        "if hmac",
        (f"{LOOPBACK}test_what_does_not_use_the_start_address_up[GET-?a=b--404]",),
    ),
    Mutation(
        "the page does not wait for the token",
        "oauth/loopback.py",
        "waiting.shown.wait(ANSWER)",
        "waiting.shown.is_set()",
        (f"{LOOPBACK}test_the_browser_waits_until_the_token_is_there",),
    ),
    Mutation(
        "every address of the machine is listened on",
        "oauth/loopback.py",
        "bound.bind((address, port))",
        'bound.bind(("" if address == "127.0.0.1" else address, port))',
        (f"{AUTHORIZE}test_a_person_who_takes_their_time",),
    ),
    Mutation(
        "the listener stays open",
        "oauth/loopback.py",
        "            listening.close()",
        "            pass",
        (f"{LOOPBACK}test_close_before_serving_frees_the_port",),
    ),
    Mutation(
        "a request line may be longer",
        "oauth/loopback.py",
        "REQUEST_LINE = 8192",
        "REQUEST_LINE = 9000",
        (f"{STRAY}[request line of 8 KiB and a byte]",),
    ),
    Mutation(
        "there may be more headers",
        "oauth/loopback.py",
        "HEADERS = 32 ",
        "HEADERS = 33 ",
        (f"{STRAY}[33 headers]",),
    ),
    Mutation(
        "headers may be larger",
        "oauth/loopback.py",
        "HEADER_BYTES = 65_536",
        "HEADER_BYTES = 655_360",
        (f"{STRAY}[headers of 70 kB]",),
    ),
    Mutation(
        "a request may take its time",
        "oauth/loopback.py",
        "connection.settimeout(max(0.001, deadline - time.monotonic()))",
        "connection.settimeout(READ)",
        (f"{LOOPBACK}test_a_slow_request_is_cut_off_and_holds_nobody_up",),
    ),
    Mutation(
        "one connection at a time",
        "oauth/loopback.py",
        "            thread.start()\n\n",
        "            thread.start()\n            thread.join()\n\n",
        (
            f"{LOOPBACK}test_idle_connections_do_not_stand_in_the_way",
            f"{LOOPBACK}test_replay_while_the_first_one_waits",
        ),
    ),
    Mutation(
        "words from outside are markup",
        "oauth/page.py",
        "escape(say.clean(getattr(page, place[1])))",
        "say.clean(getattr(page, place[1]))",
        (
            f"{LOOPBACK}test_words_from_outside_are_text[<script>alert(1)</script>-&lt;script&gt;alert(1)&lt;/script&gt;]",
        ),
    ),
    Mutation(
        "words from outside are of any length",
        "say.py",
        "LONGEST = 300 ",
        "LONGEST = 300_000 ",
        (f"{LOOPBACK}test_words_from_outside_are_bounded",),
    ),
    *(
        Mutation(f"no header {line.partition(':')[0]}", "oauth/page.py", f'        "{line}\\r\\n"\n', "", red)
        for red in [
            (
                f"{LOOPBACK}test_headers_of_a_page_word_for_word[200]",
                f"{LOOPBACK}test_headers_of_the_start_address_word_for_word",
            )
        ]
        for line in (
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "X-Content-Type-Options: nosniff",
            "X-Frame-Options: DENY",
        )
    ),
    Mutation(
        "a policy that lets in what it likes",
        "oauth/page.py",
        """    policy = "default-src 'none'"\n""",
        """    policy = "default-src *"\n""",
        (f"{LOOPBACK}test_headers_of_a_page_word_for_word[200]",),
    ),
    # The authorization request and the exchange.
    Mutation(
        "the verifier is not sent",
        "oauth/wire.py",
        '{**grant, "code_verifier": callback.verifier.reveal(), **_resource(forge)}',
        "{**grant, **_resource(forge)}",
        (f"{AUTHORIZE}test_consent", f"{AUTHORIZE}test_pkce"),
    ),
    Mutation(
        "PKCE is plain",
        "oauth/wire.py",
        "digest = hashlib.sha256(attempt.verifier.reveal().encode()).digest()",
        'digest = base64.urlsafe_b64decode(attempt.verifier.reveal() + "=")',
        (f"{AUTHORIZE}test_pkce", f"{AUTHORIZE}test_consent"),
    ),
    Mutation(
        "PKCE is said to be plain",
        "oauth/wire.py",
        '"code_challenge_method": "S256"',
        '"code_challenge_method": "plain"',
        (f"{AUTHORIZE}test_pkce",),
    ),
    Mutation(
        "PKCE is left out",
        "oauth/wire.py",
        '        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),\n'
        '        "code_challenge_method": "S256",\n',
        "",
        (f"{AUTHORIZE}test_pkce", f"{AUTHORIZE}test_what_the_authorize_page_is_asked"),
    ),
    Mutation(
        "the verifier is the state",
        "oauth/wire.py",
        "return cls(Secret.fresh(), Secret.fresh())",
        "return cls(*[Secret.fresh()] * 2)",
        (f"{LOOPBACK}test_state_has_256_bits_and_is_fresh", f"{AUTHORIZE}test_pkce"),
    ),
    Mutation(
        "a server without S256 will do",
        "oauth/metadata.py",
        'or "S256" not in methods',
        "or not methods",
        (f"{AUTHORIZE}test_a_server_without_s256",),
    ),
    Mutation(
        "a space is a plus sign",
        "oauth/wire.py",
        "urlencode(query, quote_via=quote)",
        "urlencode(query)",
        (f"{AUTHORIZE}test_the_url_has_only_characters_of_a_url",),
    ),
    Mutation(
        "redirects are followed",
        "oauth/http.py",
        "data=call.form, headers=headers)",
        "data=call.form, headers=headers, follow_redirects=True)",
        (f"{AUTHORIZE}test_the_token_endpoint_redirects",),
    ),
    Mutation(
        "an answer may be of any size",
        "oauth/http.py",
        "if len(body) > call.largest:",
        "if False:",
        (f"{AUTHORIZE}test_the_token_endpoint_fails[10 MB]",),
    ),
    Mutation(
        "certificates are not verified",
        "oauth/http.py",
        "    if not settings.verify:",
        "    if True:",
        (f"{AUTHORIZE}test_a_certificate_that_is_not_trusted",),
    ),
    Mutation(
        "any kind of token will do",
        "oauth/wire.py",
        'if not isinstance(kind, str) or kind.lower() != "bearer":',
        "if False:",
        (f"{AUTHORIZE}test_the_token_endpoint_fails[another kind of token]",),
    ),
    Mutation(
        "any token will do",
        "oauth/wire.py",
        "return isinstance(value, str) and len(value) <= TOKEN and bool(_VISIBLE.fullmatch(value))",
        "return isinstance(value, str)",
        (
            f"{AUTHORIZE}test_the_token_endpoint_fails[an empty token]",
            f"{AUTHORIZE}test_the_token_endpoint_fails[a token of 65 kB]",
        ),
    ),
    Mutation(
        "an error with 200 is passed over",
        "oauth/wire.py",
        "if isinstance(error, str) and error:",
        "if isinstance(error, str) and error and status != 200:",
        (f"{AUTHORIZE}test_the_token_endpoint_fails[an error with 200]",),
    ),
    # The conversation.
    Mutation(
        "anybody may sign in",
        "oauth/authorize.py",
        "    admit(account)\n",
        "",
        (f"{AUTHORIZE}test_somebody_else_than_asked",),
    ),
    Mutation(
        "git's death is not seen",
        "oauth/authorize.py",
        "if self.ways.gone():",
        "if False:",
        (f"{AUTHORIZE}test_git_is_gone",),
    ),
    Mutation(
        "there is no probe",
        "oauth/authorize.py",
        "if self.probed:",
        "if False:",
        (f"{AUTHORIZE}test_oauth_is_off[404]",),
    ),
    Mutation(
        "the redirect address may lead away",
        "oauth/dynamic.py",
        "if parsed is None or not parsed.origin.loopback or",
        "if parsed is None or",
        (f"{AUTHORIZE}test_redirect_addresses_that_lead_away[http://forge.example/cb]",),
    ),
    # Openers.
    Mutation(
        "a program of the current directory is started",
        "oauth/browser.py",
        'return program if program.startswith("/") and os.access(program, os.X_OK) else None',
        "return program if os.access(program, os.X_OK) else None",
        (f"{BROWSER}test_nothing_is_started_from_the_current_directory[P-./evil]",),
    ),
    Mutation(
        "a relative directory of the PATH is searched",
        "git.py",
        'if directory.startswith("/") and os.path.isfile(path)',
        "if os.path.isfile(path)",
        (f"{BROWSER}test_nothing_is_started_from_the_current_directory[.-evil]",),
    ),
    Mutation(
        "an opener is heard",
        "oauth/browser.py",
        "                stderr=subprocess.DEVNULL,\n",
        "",
        (f"{BROWSER}test_a_talking_opener_is_not_heard",),
    ),
    Mutation(
        "an opener that came may fail",
        "oauth/authorize.py",
        "self.opener and not self.listener.opened and self.opener.failed()",
        "self.opener and self.opener.failed()",
        (f"{BROWSER}test_one_that_fails_after_its_visit_is_not_followed_by_another",),
    ),
    # Paste.
    Mutation(
        "what is pasted is echoed",
        "oauth/paste.py",
        "~(termios.ICANON | termios.ECHO)",
        "~termios.ICANON",
        (f"{PASTE}test_the_terminal_while_we_read",),
    ),
    Mutation(
        "lines end at 4,096 bytes",
        "oauth/paste.py",
        "~(termios.ICANON | termios.ECHO)",
        "~termios.ECHO",
        (f"{PASTE}test_a_long_address_in_one_paste[8192]",),
    ),
    Mutation(
        "the terminal is not given back",
        "oauth/paste.py",
        "termios.tcsetattr(self.descriptor, termios.TCSAFLUSH, self._before)",
        "pass",
        (f"{PASTE}test_the_terminal_is_given_back_after_a_signal[Ctrl-C]",),
    ),
    Mutation(
        "somebody else's foreground is taken",
        "oauth/paste.py",
        "if os.tcgetpgrp(self.descriptor) != os.getpgrp():",
        "if False:",
        (f"{PASTE}test_in_the_background_the_terminal_is_left_alone",),
    ),
    Mutation(
        "the address that is pasted is not compared",
        "oauth/authorize.py",
        'if address and ours and (address.origin, address.path or "/") == (ours.origin, ours.path or "/"):',
        "if address and ours:",
        (
            f"{PASTE}test_wrong_input_then_right_input[another host]",
            f"{PASTE}test_wrong_input_then_right_input[another path]",
        ),
    ),
    Mutation(
        "paste has the browser's state",
        "oauth/authorize.py",
        "self.paste_attempt = Attempt.fresh()",
        "self.paste_attempt = self.browser_attempt",
        (f"{PASTE}test_the_address_for_paste_is_on_the_terminal_alone",),
    ),
    Mutation(
        "the address for paste goes to stderr",
        "oauth/authorize.py",
        'say.on(terminal.descriptor, f"{lead} {address}',
        'say.line(address) or say.on(terminal.descriptor, f"{lead} {address}',
        (f"{PASTE}test_the_address_for_paste_is_on_the_terminal_alone",),
    ),
    # Registration: what a server answers is written into a file.
    Mutation(
        "a client id may be anything",
        "oauth/registration.py",
        """    if not (isinstance(client_id, str) and ID.fullmatch(client_id)):
        raise""",
        """    if not isinstance(client_id, str):
        raise""",
        (f"{REGISTRATION}test_nonsense[fields5-{OF_NO_USE}its answer has no client id]",),
    ),
    Mutation(
        "the redirect address of an answer is not compared",
        "oauth/registration.py",
        "if redirects != [forge.redirect]:",
        "if forge.redirect not in redirects:",
        (f"{REGISTRATION}test_nonsense[fields9-{OF_NO_USE}it did not take the redirect address http://127.0.0.1]",),
    ),
    Mutation(
        "a state of the first page is good for the second",
        "oauth/loopback.py",
        "self._attempts, self._issuer, self._target = attempts, issuer, target\n            waiting",
        "self._attempts += attempts\n            self._target = target\n            waiting",
        (f"{LOOPBACK}test_one_more_page",),
    ),
    Mutation(
        "the descriptor rings for ever",
        "oauth/loopback.py",
        "            os.read(self.descriptor, 1)",
        "            pass",
        (f"{LOOPBACK}test_one_more_page",),
    ),
    # The device flow, and which forge it is.
    Mutation(
        "a device polls without a pause",
        "oauth/wire.py",
        "max(interval or DEVICE_INTERVAL, 1)",
        "(interval or DEVICE_INTERVAL)",
        (f"{DEVICE}test_times[changed4-1-1]",),
    ),
    Mutation(
        "slow_down slows nothing down",
        "oauth/device.py",
        "interval += wire.DEVICE_INTERVAL",
        "pass",
        (f"{DEVICE}test_slow_down",),
    ),
    Mutation(
        "any page with a code is opened",
        "oauth/device.py",
        "if address and address.origin in",
        "if address or address in",
        (f"{DEVICE}test_a_page_elsewhere_is_not_opened[http://127.0.0.1:9/x]",),
    ),
    Mutation(
        "a device may get less than was asked for",
        "oauth/device.py",
        "authorize.demand_scopes(forge, granted)",
        "pass",
        (f"{DEVICE}test_less_than_asked_for",),
    ),
    Mutation(
        "a kind with a part at its own host is anywhere",
        "recognise.py",
        " if kind.realms or kind.by_metadata]",
        "]",
        ("tests/test_recognise.py::test_a_heuristic_sends_no_token_elsewhere[wwwauth0-bitbucket]",),
    ),
    Mutation(
        "a challenge says where to look",
        "oauth/metadata.py",
        "if address is None or address.origin != origin:\n        return None\n    found",
        "if address is None:\n        return None\n    found",
        ("tests/oauth/test_metadata.py::test_resource_elsewhere_is_not_fetched[http://127.0.0.1:1/x]",),
    ),
)
