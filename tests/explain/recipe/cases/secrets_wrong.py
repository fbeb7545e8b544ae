"""Other credentials, placeholders, and secrets of another endpoint."""

from dataclasses import replace

from configured import env_file, given, secret, sourced, xargs_export

from lab import run

KIND, PLACEHOLDER, OTHER = "secret_wrong_kind", "secret_placeholder", "secret_other"

def rotated(previous):
    """The previous secret is in use, and the present one is given as a further one."""
    return lambda delivery: replace(delivery, secret=previous, more_secrets=(delivery.secret,))

def from_body(start, end):
    """The operator took a value that is in the delivery for the secret."""

    def change(delivery):
        text = delivery.body.decode()
        begin = text.index(start) + len(start)
        return replace(delivery, secret=text[begin : text.index(end, begin)])

    return change

def envsubst(template):
    """envsubst fills in a template. The variable is not exported."""
    return secret(lambda _: run(["envsubst", "$OTHER"], template.encode()).decode())

def javascript(expression):
    return secret(lambda _: run(["node", "-p", expression]).decode().rstrip("\n"))

CASES = [
    ("publishable-key-stripe", "stripe", given("pk_live_51KxZn2LqHw7TbYc3RmVd8QpSjGfXa"), KIND, False,
     "the publishable key of Stripe"),
    ("restricted-key-stripe", "stripe", given("rk_test_51KxZn2LqHw7TbYc3RmVd8QpSjGfXa"), KIND, False,
     "a restricted key of Stripe"),
    ("bot-token-slack", "slack", given("xoxb-" + "210987654321-9876543210987-Kq2vXm9ZrT4bL6nWcYpJ7sHd"), KIND,
     False, "the bot token of Slack"),
    ("verification-token-slack", "slack", from_body('"token":"', '"'), KIND, False,
     "the verification token of Slack, which is in the body"),
    ("app-id-slack-command", "slack-command", from_body("api_app_id=", "&"), KIND, False,
     "the id of the app, which is in the body"),
    ("access-token-shopify", "shopify", given("shpat_" + "7d2c5b8e1f4a90637d2c5b8e1f4a9063"), KIND, False,
     "the access token of Shopify"),
    ("installation-token-github", "github-push", given("ghs_" + "Kq2vXm9ZrT4bL6nWcYpJ7sHd3FgA5eUo8iXq"), KIND,
     False, "an installation token of GitHub"),
    ("fine-grained-token-github", "github-release",
     given("github_pat_" + "11AAKQ2VX0m9ZrT4bL6nWc_YpJ7sHd3FgA5eUo8iXq1tWz0yB2vC4nM6kL8jH"), KIND, False,
     "a fine-grained token of GitHub"),
    ("hook-id-github", "github-push", given("460511873"), KIND, False,
     "the id of the webhook, which is in a header"),
    ("account-sid-twilio", "twilio", from_body("AccountSid=", "&"), KIND, False,
     "the account SID, which is in the body"),
    ("api-key-sid-twilio", "twilio", given("SK" + "7d2c5b8e1f4a90637d2c5b8e1f4a9063"), KIND, False,
     "the SID of an API key of Twilio"),
    ("application-id-discord", "discord", from_body('"application_id":"', '"'), KIND, False,
     "the application id, which is in the body"),
    ("api-key-sendgrid", "sendgrid", given("SG." + "Kq2vXm9ZrT4bL6nWcYpJ7s.Hd3FgA5eUo8iXq1tWz0yB2vC4nM6kL8jH7gF5dS3aQ"),
     KIND, False, "the API key of SendGrid"),
    ("api-key-linear", "linear", given("lin_api_" + "Kq2vXm9ZrT4bL6nWcYpJ7sHd3FgA5eUo8iXq1tWz"), KIND, False,
     "the API key of Linear"),
    ("private-app-hubspot", "hubspot", given("pat-eu1-4f7a1c93-8e2d-4b60-a5f1-0e9d8c7b6a54"), KIND, False,
     "the token of a private app of HubSpot"),
    ("access-token-square", "square", given("EAAAl" + "Kq2vXm9ZrT4bL6nWcYpJ7sHd3FgA5eUo8iXq1tWz0yB2vC4nM6kL8jH7gF5dS"),
     KIND, False, "the access token of Square"),
    ("key-id-razorpay", "razorpay", given("rzp_live_Kq2vXm9ZrT4bL6"), KIND, False,
     "the id of an API key of Razorpay"),
    ("web-token-zoom", "zoom", given("eyJhbGciOiJIUzI1NiJ9.eyJhdWQiOiJ6b29tIiwiaXNzIjoia2lvc2sifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"),
     KIND, False, "a JSON web token of Zoom"),
    ("endpoint-id-svix", "svix", given("ep_2mT9vQx7ZcRk4LbWnYpJ8sHdFgA"), KIND, False,
     "the id of the endpoint of Svix"),
    ("public-key-standard", "standard", given("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n-----END PUBLIC KEY-----\n"),
     KIND, False, "a public key in place of a shared secret"),
    # Placeholders
    ("not-exported-shopify", "shopify", envsubst("${SHOPIFY_WEBHOOK_SECRET}"), PLACEHOLDER, False,
     "envsubst was told another variable"),
    ("systemd-stripe", "stripe", given("$STRIPE_WEBHOOK_SECRET"), PLACEHOLDER, False,
     "systemd does not expand variables in EnvironmentFile"),
    ("js-undefined-line", "line", javascript("`${process.env.LINE_CHANNEL_SECRET}`"), PLACEHOLDER, False,
     "JavaScript: a variable that is not set is undefined"),
    ("template-slack", "slack", given("{{ slack_signing_secret }}"), PLACEHOLDER, False,
     "a template was not rendered"),
    ("your-secret-linear", "linear", given("<your-webhook-secret>"), PLACEHOLDER, False,
     "the example of the documentation"),
    ("your-secret-here-razorpay", "razorpay", given("your_webhook_secret_here"), PLACEHOLDER, False,
     "the example of the documentation"),
    ("changeme-github", "github-push", given("changeme"), PLACEHOLDER, False, "a default was not changed"),
    ("percent-paddle", "paddle", given("%PADDLE_SECRET%"), PLACEHOLDER, False,
     "a variable of Windows was not expanded"),
    ("one-password-beel", "beel", given("op://kiosk/beel/webhook-secret"), PLACEHOLDER, False,
     "a reference to a password manager was not resolved"),
    ("sops-svix", "svix", given("ENC[AES256_GCM,data:Kq2vXm9ZrT4b,iv:L6nWcYpJ7sHd=,tag:3FgA5eUo8iXq==,type:str]"),
     PLACEHOLDER, False, "a value of SOPS was not decrypted"),
    ("whsec-dots-stripe", "stripe", given("whsec_..."), PLACEHOLDER + " secret_copied_badly", False,
     "the example of the documentation"),
    ("empty-zoom", "zoom", xargs_export(env_file("SECRET=\nPORT={}\n")), PLACEHOLDER, False,
     "the variable is empty"),
    ("unquoted-ampersand-woocommerce", "woocommerce", sourced(env_file("SECRET={}\n")), PLACEHOLDER, False,
     "bash: & without quotes ends the command, so the variable is empty"),
    # Secrets of another endpoint
    ("other-endpoint-stripe", "stripe", given("whsec_Lp4VnRk8Zt2QxWc6Mb0YjHs5Gd9Fa3Ue"), OTHER, False,
     "the secret of another endpoint"),
    ("other-environment-slack", "slack", given("4a8d1f6b2c9e7053b1d84f6a2c9e7d05"), OTHER, False,
     "the signing secret of the app for tests"),
    ("other-endpoint-standard", "standard", given("whsec_b3RoZXItc3RhbmRhcmQtd2ViaG9va3Mta2V5LTAyMzQ="), OTHER,
     False, "the secret of another endpoint"),
    ("other-store-shopify", "shopify", given("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"), OTHER, False,
     "the secret of another app"),
    ("other-key-discord", "discord", given("79b5562e8fe654f94078b112e8a98ba7901f853ae695bed7e0e3910bad049664"),
     OTHER, False, "the public key of another application"),
    ("other-region-twilio", "twilio", given("0c5b7a2e49168f3d0c5b7a2e49168f3d"), OTHER + " url_mismatch", False,
     "the auth token of another region"),
    ("rotated-github", "github-push", rotated("kiosk-hook-0a1b2c3d4e5f6a7b"), OTHER, True,
     "the previous secret is in use, and the present one is given, too"),
    ("rotated-standard", "standard", rotated("whsec_cHJldmlvdXMta2V5LW9mLXRoZS1raW9zay0wMDA="), OTHER, True,
     "the previous secret is in use, and the present one is given, too"),
    ("rotated-twilio", "twilio", rotated("1d6f2a8b4c7e90531d6f2a8b4c7e9053"), OTHER, True,
     "the previous token is in use, and the present one is given, too"),
]
