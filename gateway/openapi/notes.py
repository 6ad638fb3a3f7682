"""What the API document says beyond the protos: limits applied after normalisation, examples, tags.

Everything hand-written about the REST API stands here. Keys are full proto names of fields, names of
RPCs and names of reasons; the tests fail for a key that names nothing and an example that is not valid.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TITLE: Final = "Starling"
VERSION: Final = "1.0.0"
INTRODUCTION: Final = """\
Starling is a Twitter-like service: people post short tweets, follow each other, like and retweet, and
read home timelines. This is its public REST API; every call is an RPC of the same service mesh.

**Signing in.** Register (`POST /v1/users`) or log in (`POST /v1/auth/login`), then send the access token
as `Authorization: Bearer <access_token>`. It lives for `expires_in` seconds; trade the refresh token for
new tokens with `POST /v1/auth/refresh`. Calls marked open need no token. A `user_id` or `follower_id`
in a body or query means the caller and may be left out; if it is sent, to any call that takes a token,
it must be the token's subject.

**Values.** Ids are 64-bit and therefore strings of decimal digits; newer things have larger ids. Times are
RFC 3339 in UTC with milliseconds. Every field of a response is always present. Unknown fields of a
request body are ignored, unknown query parameters are refused; a call with a body takes none. JSON is
read strictly: no comments, no trailing commas, no name twice.

**Lists** are paged: pass `next_cursor` as `cursor` to get the next page; it is `""` at the end, and only
there. A cursor is opaque and belongs to one reader and one list.

**Errors** are a `google.rpc.Status`: `code` is the gRPC code, `details` holds an `ErrorInfo` with a reason
that programs can rely on, a `BadRequest` naming the fields that are wrong, and a `RetryInfo` where
trying again later helps. Paths that do not exist are 404 and wrong methods 405, in the same form.
Repeating a call is safe for all but `POST /v1/tweets`, `POST /v1/users` and `POST /v1/auth/refresh`; a
tweet is posted once however often it is sent with the same `Idempotency-Key`.

**Limits.** Bodies are at most 64 KiB. Calls are limited a second for each address and each user, and the
open account calls a minute for each address; a refusal says in `Retry-After` when to come back.
"""


class Tag(NamedTuple):
    """A heading of the document, and the RPC service whose calls stand under it."""

    name: str
    service: str
    description: str


TAGS: Final = (
    Tag("Accounts", "AccountService", "Registering, signing in and out."),
    Tag("Users", "GraphService", "Profiles, and who follows whom."),
    Tag("Tweets", "TweetService", "Posting, deleting, liking and retweeting."),
    Tag("Timelines", "TimelineService", "Home timelines, user timelines and what is popular."),
    Tag("Discovery", "DiscoveryService", "Keys, health, and this documentation."),
)

# Calls that no RPC describes as a client sees them: those of the edge itself, and a page of files.
OPERATIONS: Final[dict[str, dict[str, object]]] = {
    "/docs/": {
        "tags": ["Discovery"],
        "operationId": "getDocs",
        "summary": "The API explorer",
        "description": "This document as a page in which one can log in and try the calls.",
        "security": [],
        "responses": {
            "200": {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}
        },
    },
    "/healthz": {
        "tags": ["Discovery"],
        "operationId": "getHealth",
        "summary": "Whether the edge serves",
        "description": "Answered by the edge itself, for load balancers.",
        "security": [],
        "responses": {
            "200": {
                "description": "The edge serves.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"status": {"type": "string", "const": "ok"}},
                            "required": ["status"],
                        },
                        "example": {"status": "ok"},
                    }
                },
            }
        },
    },
}
HIDDEN_RPCS: Final = frozenset({"GetDocs"})

# Calls that answer something else than a message of their own: media type and schema.
RAW_RESPONSES: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "GetOpenApi": ("application/json", {"type": "object", "description": "An OpenAPI document."}),
}

SUMMARIES: Final = {
    "Register": "Register",
    "Login": "Log in",
    "Refresh": "Renew the tokens",
    "Logout": "Log out",
    "GetJwks": "Public keys of the access tokens",
    "GetOpenApi": "This document",
    "GetUser": "Get a user",
    "GetUserByUsername": "Get a user by username",
    "UpdateUser": "Edit one's own profile",
    "FollowUser": "Follow a user",
    "UnfollowUser": "Unfollow a user",
    "ListFollowers": "List a user's followers",
    "ListFollowing": "List whom a user follows",
    "PostTweet": "Post a tweet",
    "GetTweet": "Get a tweet",
    "DeleteTweet": "Delete one's own tweet",
    "LikeTweet": "Like a tweet",
    "UnlikeTweet": "Take a like back",
    "Retweet": "Retweet a tweet",
    "Unretweet": "Take a retweet back",
    "GetHomeTimeline": "Read the home timeline",
    "GetPopularTweets": "Read the most popular tweets of the home timeline",
    "GetUserTimeline": "Read a user's tweets and retweets",
}

# Phrases of the protos' comments in the words of a REST reader.
PHRASES: Final = {
    "the `idempotency-key` metadata": "the `Idempotency-Key` header",
    "TWEET_MAX_CHARS code points": "140 Unicode code points",
}

DESCRIPTIONS: Final = {
    "starling.tweet.v1.PostTweetRequest.content": (
        "Trimmed and NFC-normalised, and then 1 to 140 Unicode code points. Control characters other "
        "than a newline are refused."
    ),
    "starling.tweet.v1.Tweet.content": (
        "What the tweet says: trimmed, NFC. At most 140 Unicode code points by default; no operator can "
        "raise that above 280."
    ),
    "starling.tweet.v1.Tweet.liked": "Whether the caller likes it.",
    "starling.tweet.v1.Tweet.retweeted": "Whether the caller has retweeted it.",
    "starling.gateway.v1.RegisterRequest.username": (
        "In any case, kept in lower case; unique for ever, unchangeable."
    ),
    "starling.graph.v1.GetUserByUsernameRequest.username": "In any case.",
    "starling.graph.v1.UpdateUserRequest.user_id": "The caller's own id.",
}

_DISPLAY_NAME: Final[dict[str, object]] = {"minLength": 1, "maxLength": 50}
_BIO: Final[dict[str, object]] = {"maxLength": 160}
_TIME: Final[dict[str, object]] = {
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
}
_STORED_USERNAME: Final[dict[str, object]] = {"pattern": "^[a-z0-9_]{3,30}$"}

# JSON Schema keywords that the protos' own rules do not give. Lengths count Unicode code points, as
# JSON Schema does, and hold after normalisation; the protos only bound what is normalised.
LIMITS: Final[dict[str, dict[str, object]]] = {
    "starling.tweet.v1.PostTweetRequest.content": {"minLength": 1, "maxLength": 140},
    "starling.gateway.v1.RegisterRequest.display_name": _DISPLAY_NAME,
    "starling.gateway.v1.RegisterRequest.bio": _BIO,
    "starling.graph.v1.UpdateUserRequest.display_name": _DISPLAY_NAME,
    "starling.graph.v1.UpdateUserRequest.bio": _BIO,
    "starling.graph.v1.User.username": _STORED_USERNAME,
    "starling.graph.v1.User.display_name": _DISPLAY_NAME,
    "starling.graph.v1.User.bio": _BIO,
    "starling.graph.v1.User.created_at": _TIME,
    "starling.tweet.v1.Tweet.username": _STORED_USERNAME,
    "starling.tweet.v1.Tweet.content": {"minLength": 1, "maxLength": 280},
    "starling.tweet.v1.Tweet.media_ids": {"maxItems": 4},
    "starling.tweet.v1.Tweet.created_at": _TIME,
    "starling.tweet.v1.Tweet.retweeted_by": {"pattern": "^([a-z0-9_]{3,30})?$"},
    "starling.tweet.v1.PostTweetResponse.created_at": _TIME,
    "starling.gateway.v1.RegisterRequest.password": {"format": "password"},
    "starling.gateway.v1.LoginRequest.password": {"format": "password"},
    "starling.gateway.v1.RegisterResponse.token_type": {"const": "Bearer"},
    "starling.gateway.v1.LoginResponse.token_type": {"const": "Bearer"},
    "starling.gateway.v1.RefreshResponse.token_type": {"const": "Bearer"},
}

# Headers that a call reads.
IDEMPOTENCY_KEY: Final[dict[str, object]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Up to 255 printable ASCII characters of the caller's choice. For 24 hours the same key with "
        "the same body answers the same tweet, also when the first answer was lost; with another body "
        "it is refused."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
HEADERS: Final = {"PostTweet": (IDEMPOTENCY_KEY,)}


class ReasonNote(NamedTuple):
    """How a refusal looks: an example of its message, its metadata, its reason's domain where that is not
    the called service's own, and, of a 400, the field that is wrong and why."""

    message: str
    metadata: dict[str, str]
    domain: str = ""
    wrong: tuple[str, str] | None = None


REASONS: Final = {
    "USERNAME_TAKEN": ReasonNote("username ada is taken", {"username": "ada"}),
    "BAD_CREDENTIALS": ReasonNote("the username or password is wrong", {}),
    "REFRESH_TOKEN_INVALID": ReasonNote("the refresh token is unknown, expired or used", {}),
    "USER_NOT_FOUND": ReasonNote(
        "user 1500791596646412295 does not exist", {"user_id": "1500791596646412295"}
    ),
    "CANNOT_FOLLOW_SELF": ReasonNote(
        "Nobody can follow themselves.", {}, wrong=("user_id", "must not be the caller's own id")
    ),
    "TWEET_NOT_FOUND": ReasonNote(
        "tweet 1510976206667788288 does not exist", {"tweet_id": "1510976206667788288"}
    ),
    "NOT_THE_AUTHOR": ReasonNote(
        "tweet 1510976206667788288 is somebody else's", {"tweet_id": "1510976206667788288"}
    ),
    "SPAM_DETECTED": ReasonNote(
        "TOO_MANY_LINKS: 5 links, at most 4 are allowed",
        {"rule": "TOO_MANY_LINKS"},
        wrong=("content", "5 links, at most 4 are allowed"),
    ),
    "IDEMPOTENCY_KEY_REUSED": ReasonNote(
        "Idempotency-Key: another request used this key less than 24 hours ago",
        {},
        wrong=("Idempotency-Key", "belongs to another request"),
    ),
    "IDEMPOTENCY_KEY_INVALID": ReasonNote(
        "Idempotency-Key: must be one header of 1 to 255 printable ASCII characters",
        {},
        wrong=("Idempotency-Key", "must be one header of 1 to 255 printable ASCII characters"),
    ),
    "IDENTITY_MISMATCH": ReasonNote(
        "user_id must be the caller's own id", {"field": "user_id"}, "mesh.starling"
    ),
}

# Failures beside those that a method's comment names, in the same form.
FAILURES: Final = {
    "PostTweet": "Errors: INVALID_ARGUMENT IDEMPOTENCY_KEY_INVALID for a key of another form.",
}

# What the edge refuses before any service sees it: gRPC code and message.
EDGE_REASONS: Final = {
    "TOKEN_INVALID": (
        "UNAUTHENTICATED",
        "a valid access token is needed: Authorization: Bearer <token>",
    ),
    "BODY_TOO_LARGE": ("INVALID_ARGUMENT", "the body is larger than 65536 bytes"),
    "WRONG_CONTENT_TYPE": (
        "INVALID_ARGUMENT",
        "this API takes JSON: Content-Type: application/json",
    ),
    "RATE_LIMITED": ("RESOURCE_EXHAUSTED", "too many requests; try again later"),
}

# A wrong value of a field, by name: what BadRequest says of it, and the violation's reason. A call's example
# is the first of these that it has.
_BOUNDS = "must be greater than or equal to 1 and less than or equal to"
WRONG_FIELDS: Final = {
    "limit": (f"{_BOUNDS} 100", "UINT32_GTE_LTE"),
    "k": (f"{_BOUNDS} 50", "UINT32_GTE_LTE"),
    "content": ("must be 1 to 140 characters after trimming, has 0", "TOO_SHORT"),
    "tweet_id": ("must be greater than 0", "INT64_GT"),
    "user_id": ("must be greater than 0", "INT64_GT"),
    "cursor": ("is not a page token of this list", "INVALID_CURSOR"),
}

# Examples of fields, by full name or else by name; other values are made from the type.
_ADA = "1500791596646412295"
EXAMPLES: Final[dict[str, object]] = {
    "user_id": _ADA,
    "follower_id": _ADA,
    "tweet_id": "1510976206667788288",
    "username": "ada",
    "display_name": "Ada Lovelace",
    "bio": "Analyst of engines.",
    "content": "The engine weaves algebraic patterns.",
    "media_ids": ["engine-plan-1"],
    "starling.graph.v1.User.created_at": "2026-05-04T09:30:00.000Z",
    "created_at": "2026-06-01T12:00:00.250Z",
    "followers_count": 42,
    "following_count": 7,
    "tweets_count": 128,
    "likes_count": 12,
    "retweets_count": 3,
    "liked": True,
    "retweeted": False,
    "retweeted_by": "",
    "access_token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxNTAwNzkxNTk2NjQ2NDEyMjk1In0.c2ln",
    "refresh_token": "nq0rOQ3y6v0f2mJxk8b1Zt4cWl5uYeAa",
    "token_type": "Bearer",
    "expires_in": 900,
    "success": True,
    "next_cursor": "AQAAAZ6C2G7qFPgUQd4AAAB9x3v0b2pT5mJ1kQ8yLw4C",
    "top_tweets": [],
    "kty": "EC",
    "crv": "P-256",
    "x": "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis",
    "y": "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE",
    "kid": "1",
    "use": "sig",
    "alg": "ES256",
}

# What the explorer fills in when a call is tried: it must work as it stands for whoever is signed in.
REQUEST_EXAMPLES: Final[dict[str, dict[str, object]]] = {
    "Register": {
        "username": "ada",
        "display_name": "Ada Lovelace",
        "password": "correct horse battery",
        "bio": "Analyst of engines.",
    },
    "Login": {"username": "ada", "password": "correct horse battery"},
    "Refresh": {"refresh_token": "nq0rOQ3y6v0f2mJxk8b1Zt4cWl5uYeAa"},
    "Logout": {"refresh_token": "nq0rOQ3y6v0f2mJxk8b1Zt4cWl5uYeAa"},
    "UpdateUser": {"display_name": "Ada Lovelace", "bio": "Analyst of engines."},
    "FollowUser": {},
    "PostTweet": {"content": "The engine weaves algebraic patterns."},
    "LikeTweet": {},
    "Retweet": {},
}
