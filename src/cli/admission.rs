//! The options of admission that are more than a field of [`Admission`].

use super::Source;
use super::parse::{Usage, wrong};
use aloud::settings::{Admission, Auth, Jwt, Listen};
use std::net::ToSocketAddrs;

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

/// Checks that clients on other machines need a credential, unless the operator passed `--insecure`.
///
/// # Errors
/// The address can be reached from elsewhere, and everyone could connect.
pub(super) fn check_exposure(listen: &Listen, admission: &Admission, is_insecure: bool) -> Result<(), Usage> {
    let Listen::Tcp(address) = listen else { return Ok(()) };
    if is_insecure || admission.auth != Auth::None {
        return Ok(());
    }
    // A name that cannot be resolved cannot be bound either: that is an error of its own.
    let Ok(mut addresses) = address.to_socket_addrs() else { return Ok(()) };
    match addresses.all(|address| address.ip().to_canonical().is_loopback()) {
        true => Ok(()),
        false => wrong(format!(
            "--listen {address} lets in everyone who can reach it; require a credential with --auth token or \
             --auth jwt, or add --insecure if a proxy in front requires one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Env, error, serve_with};
    use super::*;
    use aloud::settings::{AllowOrigin, TrustedProxy};
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

    #[test]
    fn an_open_door_has_to_be_meant() {
        let check = |listen: &str, auth: Auth, is_meant| {
            let admission = Admission::default().with(|a| a.auth = auth);
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
