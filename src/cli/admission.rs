//! The options that say who may enter, and how much of the server one client may have.

use super::{MAX_MS, Opt, Source, Usage, opt};
use aloud::settings::{Admission, Auth, Jwt, Listen};
use std::fmt;
use std::net::ToSocketAddrs;
use std::str::FromStr;
use std::time::Duration;

pub(super) const ALLOW_ORIGIN: Opt = opt("allow-origin", "https://HOST, null or *");
pub(super) const AUTH: Opt = opt("auth", "none, token or jwt");
pub(super) const AUTH_TOKENS: Opt = opt("auth-tokens", "a file name");
pub(super) const AUTH_TIMEOUT_MS: Opt = opt("auth-timeout-ms", "a number of milliseconds");
pub(super) const JWT_KEY_FILE: Opt = opt("jwt-key-file", "a file name");
pub(super) const JWT_AUDIENCE: Opt = opt("jwt-audience", "a name");
pub(super) const JWT_ISSUER: Opt = opt("jwt-issuer", "a name");
pub(super) const JWT_LEEWAY_MS: Opt = opt("jwt-leeway-ms", "a number of milliseconds");
// Not from the environment: nobody should find out later that a forgotten variable opened the door.
pub(super) const TOKEN_IN_QUERY: Opt = Opt { env: false, is_flag: true, ..opt("token-in-query", "nothing") };
pub(super) const INSECURE: Opt = Opt { env: false, is_flag: true, ..opt("insecure", "nothing") };
pub(super) const TRUSTED_PROXY: Opt =
    opt("trusted-proxy", "an address, a network such as 10.0.0.0/8, or unix");
pub(super) const MAX_CONNECTIONS: Opt = opt("max-connections", "a number of connections");
pub(super) const MAX_CLIENT_CONNECTIONS: Opt = opt("max-client-connections", "a number of connections");
pub(super) const MAX_CLIENT_SESSIONS: Opt = opt("max-client-sessions", "a number of sessions");
pub(super) const MAX_CLIENT_HANDSHAKES: Opt =
    opt("max-client-handshakes-per-second", "a number of handshakes");
pub(super) const MAX_CLIENT_CHARS: Opt = opt("max-client-chars-per-hour", "a number of characters");

/// What concerns the list of tokens, and what JSON Web Tokens.
const OF_TOKENS: &[Opt] = &[AUTH_TOKENS];
const OF_JWT: &[Opt] = &[JWT_KEY_FILE, JWT_AUDIENCE, JWT_ISSUER, JWT_LEEWAY_MS];

/// All that take a value and are in the tables of tests below.
#[cfg(test)]
pub(super) const OPTIONS: &[Opt] = &[
    ALLOW_ORIGIN,
    AUTH_TOKENS,
    AUTH_TIMEOUT_MS,
    JWT_KEY_FILE,
    JWT_AUDIENCE,
    JWT_ISSUER,
    JWT_LEEWAY_MS,
    TRUSTED_PROXY,
    MAX_CLIENT_CONNECTIONS,
    MAX_CLIENT_SESSIONS,
    MAX_CLIENT_HANDSHAKES,
    MAX_CLIENT_CHARS,
];

impl Source<'_> {
    /// Who may enter.
    pub(super) fn admission(&self) -> Result<Admission, Usage> {
        let default = Admission::default();
        let many = 1..=1_000_000;
        let ms = "whole number of milliseconds";
        Ok(Admission {
            auth: self.auth()?,
            allow_origins: self.list(&ALLOW_ORIGIN)?,
            trusted_proxies: self.list(&TRUSTED_PROXY)?,
            token_in_query: self.given.last(&TOKEN_IN_QUERY).is_some(),
            auth_timeout: self
                .number(&AUTH_TIMEOUT_MS, 100..=MAX_MS, ms)?
                .map_or(default.auth_timeout, Duration::from_millis),
            max_connections: self
                .number(&MAX_CONNECTIONS, 1..=10_000_000, "whole number")?
                .unwrap_or(default.max_connections),
            max_client_connections: self.number(&MAX_CLIENT_CONNECTIONS, many.clone(), "whole number")?,
            max_client_sessions: self.number(&MAX_CLIENT_SESSIONS, many, "whole number")?,
            max_client_handshakes_per_sec: self.number(
                &MAX_CLIENT_HANDSHAKES,
                1..=1_000_000,
                "whole number",
            )?,
            max_client_chars_per_hour: self.number(
                &MAX_CLIENT_CHARS,
                1..=1_000_000_000_000,
                "whole number",
            )?,
            ..default
        })
    }

    fn auth(&self) -> Result<Auth, Usage> {
        let kind =
            self.choice(&AUTH, |name| ["none", "token", "jwt"].into_iter().find(|known| *known == name))?;
        let kind = kind.unwrap_or("none");
        // A key without the lock it is for is a mistake that must not leave the door open.
        for (concerns, options) in [("token", OF_TOKENS), ("jwt", OF_JWT)] {
            let option = options.iter().find(|option| self.given.last(option).is_some());
            if let Some(option) = option.filter(|_| kind != concerns) {
                return Err(Usage(format!(
                    "--{} concerns --auth {concerns}; say that as well, or leave it out",
                    option.name
                )));
            }
        }
        let file = |option: &Opt, what: &str| match self.text(option)? {
            Some((_, file)) => Ok(file),
            None => Err(Usage(format!("--auth {kind} needs --{}, {what}", option.name))),
        };
        match kind {
            "token" => {
                let what = "a file with the SHA-256 of a token in each line";
                Ok(Auth::Tokens(file(&AUTH_TOKENS, what)?.into()))
            }
            "jwt" => {
                let jwt =
                    Jwt::new(file(&JWT_KEY_FILE, "the file with the key that tokens are checked with")?);
                let ms = self.number(&JWT_LEEWAY_MS, 0..=3_600_000, "whole number of milliseconds")?;
                Ok(Auth::Jwt(Jwt {
                    audience: self.text(&JWT_AUDIENCE)?.map(|(_, name)| name),
                    issuer: self.text(&JWT_ISSUER)?.map(|(_, name)| name),
                    leeway: ms.map_or(jwt.leeway, Duration::from_millis),
                    ..jwt
                }))
            }
            _ => Ok(Auth::None),
        }
    }

    /// The values of an option that may be given more than once, or several with commas between them.
    fn list<T: FromStr>(&self, option: &Opt) -> Result<Vec<T>, Usage>
    where
        T::Err: fmt::Display,
    {
        let given = self.given.all(option);
        let texts: Vec<(String, String)> = match given.is_empty() {
            true => self.text(option)?.into_iter().collect(),
            false => {
                let name = format!("--{}", option.name);
                let text = |value| super::utf8(value, &name).map(|value| (name.clone(), value.to_owned()));
                given.into_iter().map(text).collect::<Result<_, _>>()?
            }
        };
        let parts =
            texts.iter().flat_map(|(name, text)| text.split(',').map(move |part| (name, part.trim())));
        let parsed = parts.map(|(name, part)| {
            part.parse().map_err(|why| Usage(format!("{name} cannot be `{part}`: {why}")))
        });
        parsed.collect()
    }
}

/// Whether anyone who can reach this address could use the server without being asked who it is, and
/// the operator has not said that this is meant.
///
/// # Errors
/// The sentence to end with.
pub(super) fn check_exposure(listen: &Listen, admission: &Admission, is_meant: bool) -> Result<(), Usage> {
    let Listen::Tcp(address) = listen else { return Ok(()) };
    if is_meant || admission.auth != Auth::None {
        return Ok(());
    }
    // What cannot be resolved cannot be bound either, and is told then.
    let Ok(mut addresses) = address.to_socket_addrs() else { return Ok(()) };
    match addresses.all(|address| address.ip().to_canonical().is_loopback()) {
        true => Ok(()),
        false => Err(Usage(format!(
            "--listen {address} lets everyone in who can reach it; ask for a credential with --auth token or \
             --auth jwt, or say --insecure if something in front of it does"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Env, error, serve_with};
    use super::*;
    use aloud::settings::{AllowOrigin, TrustedProxy};

    fn admission(args: &[&str], env: Env) -> Admission {
        serve_with(args, env).admission
    }

    #[test]
    fn options_become_the_library_s_own() {
        assert_eq!(admission(&[], &[]), Admission::default());
        let tokens = Auth::Tokens("t".into());
        assert_eq!(admission(&["--auth=token", "--auth-tokens=t"], &[]).auth, tokens);
        let env: Env = &[("ALOUD_AUTH", "token"), ("ALOUD_AUTH_TOKENS", "t")];
        assert_eq!(admission(&[], env).auth, tokens);
        assert_eq!(admission(&["--auth", "none"], env).auth, Auth::None);
        assert_eq!(admission(&["--auth=jwt", "--jwt-key-file=k"], &[]).auth, Auth::Jwt(Jwt::new("k")));
        let all =
            ["--auth=jwt", "--jwt-key-file=k", "--jwt-audience=a", "--jwt-issuer=i", "--jwt-leeway-ms=5000"];
        let (audience, issuer) = (Some("a".to_owned()), Some("i".to_owned()));
        let expected = Jwt { audience, issuer, leeway: Duration::from_secs(5), ..Jwt::new("k") };
        assert_eq!(admission(&all, &[]).auth, Auth::Jwt(expected));

        let set = admission(
            &[
                "--token-in-query",
                "--auth-timeout-ms=1500",
                "--max-connections=1",
                "--max-client-connections=2",
                "--max-client-sessions=3",
                "--max-client-handshakes-per-second=4",
                "--max-client-chars-per-hour=5",
            ],
            &[],
        );
        let expected = Admission {
            token_in_query: true,
            auth_timeout: Duration::from_millis(1_500),
            max_connections: 1,
            max_client_connections: Some(2),
            max_client_sessions: Some(3),
            max_client_handshakes_per_sec: Some(4),
            max_client_chars_per_hour: Some(5),
            ..Admission::default()
        };
        assert_eq!(set, expected);
    }

    #[test]
    fn lists_may_be_repeated_or_have_commas() {
        let origins = |args: &[&str], env| -> Vec<String> {
            admission(args, env).allow_origins.iter().map(AllowOrigin::to_string).collect()
        };
        let env: Env = &[("ALOUD_ALLOW_ORIGIN", "https://a, https://b"), ("ALOUD_TRUSTED_PROXY", "unix,::1")];
        assert_eq!(origins(&[], env), ["https://a", "https://b"]);
        assert_eq!(
            origins(&["--allow-origin=https://c", "--allow-origin", "null,*"], env),
            ["https://c", "null", "*"]
        );
        let proxies: Vec<TrustedProxy> = vec![TrustedProxy::Unix, "::1".parse().unwrap()];
        assert_eq!(admission(&[], env).trusted_proxies, proxies);
    }

    #[test]
    fn a_mistake_gets_a_sentence() {
        for (args, expected) in [
            (&["--auth=basic"][..], "give none, token or jwt"),
            (&["--auth=token"], "--auth token needs --auth-tokens, a file with"),
            (&["--auth=jwt"], "--auth jwt needs --jwt-key-file"),
            (&["--auth-tokens=t"], "--auth-tokens concerns --auth token; say that as well"),
            (&["--auth=token", "--auth-tokens=t", "--jwt-issuer=i"], "--jwt-issuer concerns --auth jwt"),
            (&["--allow-origin=a.example"], "cannot be `a.example`: the scheme is missing"),
            (&["--allow-origin=https://a,"], "cannot be ``: the scheme is missing"),
            (&["--trusted-proxy=10.0.0.1/8"], "write the network's first address"),
            (&["--max-client-sessions=0"], "from 1 to"),
            (&["--insecure=yes"], "takes no value"),
            (&["--jwt-key=abc"], "did you mean `--jwt-key-file`"),
            (&["--auth-token=abc"], "did you mean `--auth-tokens`"),
        ] {
            let error = error(args, &[]);
            assert!(error.contains(expected), "{args:?} gave {error:?}");
        }
    }

    #[test]
    fn an_open_door_has_to_be_meant() {
        let check = |listen: &str, auth: Auth, is_meant| {
            let admission = Admission { auth, ..Admission::default() };
            check_exposure(&listen.parse().unwrap(), &admission, is_meant)
        };
        for inside in
            ["127.0.0.1:80", "127.8.8.8:0", "[::1]:80", "[::ffff:127.0.0.1]:80", "localhost:80", "unix:/x"]
        {
            assert_eq!(check(inside, Auth::None, false), Ok(()), "{inside}");
        }
        for outside in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            let error = check(outside, Auth::None, false).unwrap_err().to_string();
            assert!(error.contains(outside) && error.contains("--insecure"), "{error}");
            assert_eq!(check(outside, Auth::None, true), Ok(()), "{outside}");
            assert_eq!(check(outside, Auth::Tokens("t".into()), false), Ok(()), "{outside}");
        }
        assert!(serve_with(&["--insecure"], &[]).is_insecure);
        assert!(!serve_with(&[], &[("ALOUD_INSECURE", "1")]).is_insecure);
    }
}
