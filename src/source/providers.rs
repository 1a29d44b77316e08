//! The sources that come in the program: one file for each provider that many have. Where `events/sources` has a file of the
//! same name, that one is read instead.

/// Their names, and what their files say.
pub(crate) const PROVIDERS: [(&str, &str); 11] = [
    ("cloudevents", include_str!("providers/cloudevents.toml")),
    ("github", include_str!("providers/github.toml")),
    ("meta", include_str!("providers/meta.toml")),
    ("msgraph", include_str!("providers/msgraph.toml")),
    ("paypal", include_str!("providers/paypal.toml")),
    ("shopify", include_str!("providers/shopify.toml")),
    ("slack", include_str!("providers/slack.toml")),
    ("square", include_str!("providers/square.toml")),
    ("stripe", include_str!("providers/stripe.toml")),
    ("twilio", include_str!("providers/twilio.toml")),
    ("zoom", include_str!("providers/zoom.toml")),
];
