"""Tokens for Amazon MSK with IAM: a URL that says that one may connect, signed with AWS' credentials.

https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable
from typing import Any

from inlake.bus.kafka.oauth.tokens import Token, TokenError

SECONDS = 900
"""Seconds for which a token is good; MSK takes none that is good for longer."""
_MSK = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")


class MskTokens:
    """Signs with the credentials that AWS' chain finds: variables, profile, web identity, the machine's role."""

    def __init__(self, hosts: Iterable[str]) -> None:
        """`hosts`: of the brokers; a name of MSK has the region in it."""
        found = filter(None, map(_MSK.search, hosts))
        self._region = next((match[1] for match in found), "")
        self._session: Any = None

    def __call__(self) -> Token:
        """See `Fetch`."""
        from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 - half a second, for those only who are at AWS
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        try:
            self._session = self._session or Session()
            region = self._region or self._session.get_config_variable("region")
            found = self._session.get_credentials()
            credentials = found and found.get_frozen_credentials()
        except BotoCoreError as error:
            raise TokenError(f"AWS gives no credentials: {error}") from None
        except ClientError as error:  # the answer of STS, which refuses the role
            raise TokenError(f"AWS gives no credentials: {error.response['Error']['Code']}") from None
        if not region:
            raise TokenError("the region is not known: set AWS_DEFAULT_REGION")
        if not credentials:
            raise TokenError("AWS' credentials are not found: see AWS_ACCESS_KEY_ID, AWS_PROFILE, or the role")
        now = time.time()
        address = f"https://kafka.{region}.amazonaws.com/"
        request = AWSRequest("GET", address, params={"Action": "kafka-cluster:Connect"})
        SigV4QueryAuth(credentials, "kafka-cluster", region, expires=SECONDS).add_auth(request)
        url = f"{request.url}&User-Agent=inlake"
        return Token(base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode(), now + SECONDS)
