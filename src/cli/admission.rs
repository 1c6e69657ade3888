//! The options of admission that are more than a field of [`Admission`].

use super::Source;
use super::parse::{Usage, wrong};
use aloud::settings::{Auth, Jwt, Listen};
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

impl Source<'_> {
    /// The credential that clients need.
    pub(super) fn auth(&self) -> Result<Auth, Usage> {
        let kind: String = self.value_or_default("auth")?;
        // A key without its lock is a mistake that must not leave the door open.
        let lock = |name: &str| match name {
            "auth-tokens" => Some("token"),
            name if name.starts_with("jwt-") => Some("jwt"),
            _ => None,
        };
        if let Some(option) = self.first(|option| lock(option.name).is_some_and(|lock| lock != kind)) {
            return wrong(format!(
                "--{} is for --auth {}; add that, or leave it out",
                option.name,
                lock(option.name).unwrap_or_default()
            ));
        }
        let file = |name: &str, what: &str| match self.text(name)? {
            Some((_, file)) => Ok(file),
            None => wrong(format!("--auth {kind} needs --{name}, {what}")),
        };
        match kind.as_str() {
            "token" => {
                let what = "a file with the SHA-256 of a token in each line";
                Ok(Auth::Tokens(file("auth-tokens", what)?.into()))
            }
            "jwt" => {
                let mut jwt = Jwt::new(file("jwt-key-file", "the file with the key that checks tokens")?);
                jwt.audience = self.value("jwt-audience")?;
                jwt.issuer = self.value("jwt-issuer")?;
                jwt.leeway = self.value("jwt-leeway-ms")?.unwrap_or(jwt.leeway);
                Ok(Auth::Jwt(jwt))
            }
            _ => Ok(Auth::None),
        }
    }
}

/// The doors of a server: the addresses that it is about to accept connections on, and what they ask for.
pub(super) struct Doors<'a> {
    /// Credential that sessions need.
    pub(super) auth: &'a Auth,
    /// True if the operator passed `--insecure`.
    pub(super) is_insecure: bool,
}

/// A door.
pub(super) enum Door<'a> {
    /// The value of an option, `--listen` or `--admin`.
    Option(&'a str, &'a Listen),
    /// A socket from systemd, bound to this address; `None` for a Unix socket.
    Inherited(Option<SocketAddr>),
}

impl Doors<'_> {
    /// Checks a door for sessions.
    ///
    /// # Errors
    /// Other machines can reach it, and everyone could connect.
    pub(super) fn check_sessions(&self, door: &Door<'_>) -> Result<(), Usage> {
        if *self.auth != Auth::None {
            return Ok(());
        }
        self.check(
            door,
            "require a credential with --auth token or --auth jwt, or add --insecure if a proxy in front requires one",
        )
    }

    /// Checks the door of the operator, which never asks for a credential.
    ///
    /// # Errors
    /// Other machines can reach it.
    pub(super) fn check_admin(&self, door: &Door<'_>) -> Result<(), Usage> {
        self.check(
            door,
            "give an address of this machine such as 127.0.0.1:9090, or add --insecure if a firewall protects it",
        )
    }

    fn check(&self, door: &Door<'_>, advice: &str) -> Result<(), Usage> {
        if self.is_insecure || door.is_local() {
            return Ok(());
        }
        wrong(format!("{door} lets in everyone who can reach it; {advice}"))
    }
}

impl Door<'_> {
    /// True if only this machine can reach it.
    fn is_local(&self) -> bool {
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        match self {
            Door::Option(_, Listen::Unix(_)) | Door::Inherited(None) => true,
            // A name that cannot be resolved cannot be bound either: that is an error of its own.
            Door::Option(_, Listen::Tcp(address)) => {
                address.to_socket_addrs().map_or(true, |mut addresses| addresses.all(is_loopback))
            }
            Door::Inherited(Some(address)) => is_loopback(*address),
        }
    }
}

impl fmt::Display for Door<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Option(name, listen) => write!(f, "{name} {listen}"),
            Door::Inherited(Some(address)) => write!(f, "the socket {address} of LISTEN_FDS"),
            Door::Inherited(None) => f.write_str("the Unix socket of LISTEN_FDS"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Env, error, serve_with};
    use super::*;
    use aloud::settings::{Admission, AllowOrigin, TrustedProxy};
    use std::time::Duration;

    fn admission(args: &[&str], env: Env) -> Admission {
        serve_with(args, env).settings.config.admission
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
        let expected = Jwt::new("k").with(|j| {
            j.audience = audience;
            j.issuer = issuer;
            j.leeway = Duration::from_secs(5);
        });
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
                "--max-client-audio-seconds-per-hour=6",
            ],
            &[],
        );
        let expected = Admission::default().with(|a| {
            a.token_in_query = true;
            a.auth_timeout = Duration::from_millis(1_500);
            a.max_connections = 1;
            a.max_client_connections = Some(2);
            a.max_client_sessions = Some(3);
            a.max_client_handshakes_per_sec = Some(4);
            a.max_client_chars_per_hour = Some(5);
            a.max_client_audio_seconds_per_hour = Some(6);
        });
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
            (&["--auth-tokens=t"], "--auth-tokens is for --auth token; add that, or leave it out"),
            (&["--auth=token", "--auth-tokens=t", "--jwt-issuer=i"], "--jwt-issuer is for --auth jwt"),
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

    fn is_open(auth: &Auth, is_meant: bool, door: &Door<'_>) -> bool {
        is_meant || *auth != Auth::None || door.is_local()
    }

    #[test]
    fn an_open_door_has_to_be_meant() {
        let check = |listen: &str, auth: Auth, is_meant| {
            let doors = Doors { auth: &auth, is_insecure: is_meant };
            let inherited = Door::Inherited(listen.parse().ok());
            let parsed = listen.parse().unwrap();
            let (door, admin) = (Door::Option("--listen", &parsed), Door::Option("--admin", &parsed));
            if listen.parse::<SocketAddr>().is_ok() || listen.starts_with("unix:") {
                let doors = [doors.check_sessions(&inherited), doors.check_admin(&inherited)];
                // An inherited socket is judged as an address of an option is.
                assert_eq!(doors[0].is_ok(), is_open(&auth, is_meant, &door), "{listen}");
                assert_eq!(doors[1].is_ok(), is_open(&Auth::None, is_meant, &door), "{listen}");
            }
            (doors.check_sessions(&door), doors.check_admin(&admin))
        };
        for inside in
            ["127.0.0.1:80", "127.8.8.8:0", "[::1]:80", "[::ffff:127.0.0.1]:80", "localhost:80", "unix:/x"]
        {
            assert_eq!(check(inside, Auth::None, false), (Ok(()), Ok(())), "{inside}");
        }
        for outside in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[fe80::1]:80"] {
            let (sessions, admin) = check(outside, Auth::None, false);
            for (error, option) in [(sessions.unwrap_err(), "--listen"), (admin.unwrap_err(), "--admin")] {
                let error = error.to_string();
                assert!(
                    error.contains(&format!("{option} {outside} ")) && error.contains("--insecure"),
                    "{error}"
                );
            }
            assert_eq!(check(outside, Auth::None, true), (Ok(()), Ok(())), "{outside}");
            // A credential protects sessions, and nothing protects the operator's door.
            let (sessions, admin) = check(outside, Auth::Tokens("t".into()), false);
            assert!(sessions.is_ok() && admin.is_err(), "{outside}");
            let error = Doors { auth: &Auth::None, is_insecure: false }
                .check_sessions(&Door::Inherited(Some(outside.parse().unwrap())))
                .unwrap_err()
                .to_string();
            assert!(error.contains(&format!("the socket {outside} of LISTEN_FDS")), "{error}");
        }
        assert!(serve_with(&["--insecure"], &[]).is_insecure);
        assert!(!serve_with(&[], &[("ALOUD_INSECURE", "1")]).is_insecure);
    }
}
