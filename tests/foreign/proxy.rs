//! Real reverse proxies, each with the recipe of the guide and no other setting that affects a
//! WebSocket.

use crate::support::{PATIENCE, Raw, skip, within};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const GUIDE: &str = include_str!("../../src/guide/proxies.md");

/// Values that the recipes leave to the operator.
const CERTIFICATE: &str = "/etc/ssl/speech.example.com/cert.pem";
const KEY: &str = "/etc/ssl/speech.example.com/key.pem";
const BOTH: &str = "/etc/ssl/speech.example.com/both.pem";
const BACKEND: &str = "127.0.0.1:8080";

/// Path prefix of the server in the recipes.
pub const PREFIX: &str = "/speech";

/// Number of attempts to start a proxy, since another process may take its port.
const ATTEMPTS: usize = 5;

/// The kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    /// HAProxy that speaks HTTP/2 to the server.
    #[allow(dead_code)] // Only with the feature `http2`.
    HaproxyH2,
    Caddy,
    Apache,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy | Kind::HaproxyH2 => "haproxy",
            Kind::Caddy => "caddy",
            Kind::Apache => "apache2",
        }
    }

    /// The recipe as printed in the guide.
    fn recipe(self) -> String {
        let language = match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy | Kind::HaproxyH2 => "haproxy",
            Kind::Caddy => "caddy",
            Kind::Apache => "apache",
        };
        let (_, rest) = GUIDE.split_once(&format!("\n```{language}\n")).expect("a recipe in the guide");
        let recipe = rest.split_once("```\n").unwrap().0.to_owned();
        match self {
            Kind::HaproxyH2 => {
                let line =
                    GUIDE.lines().find(|line| line.trim().ends_with(" proto h2")).expect("in the guide");
                replaced(&recipe, &format!("    server aloud {BACKEND}\n"), &format!("    {}\n", line.trim()))
            }
            _ => recipe,
        }
    }
}

/// Replaces `that` with `this`; fails if the text does not contain `that`.
fn replaced(text: &str, that: &str, this: &str) -> String {
    assert!(text.contains(that), "no {that:?} in\n{text}");
    text.replace(that, this)
}

/// Removes the lines that contain this.
fn without(text: &str, held: &str) -> String {
    assert!(text.contains(held), "no {held:?} in\n{text}");
    text.split_inclusive('\n').filter(|line| !line.contains(held)).collect()
}

/// A running proxy, killed with all its processes when dropped.
pub struct Proxy {
    kind: Kind,
    /// The addresses with TLS and without.
    pub tls: SocketAddr,
    pub plain: SocketAddr,
    admin: SocketAddr,
    config: PathBuf,
    folder: Folder,
    /// HAProxy's older processes serve their remaining connections.
    children: Vec<Running>,
}

/// A process and its children.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        // Apache and nginx end their children on this signal.
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A temporary directory, removed with its contents.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("aloud-proxy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// True if a program is installed. Otherwise prints that the test is skipped, or fails with `CI=true`.
pub fn is_installed(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The PATH of an ordinary user lacks the directories of servers.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).any(|file| file.is_file());
    if !found {
        skip(test, program);
    }
    found
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/local/sbin");
    command.env("PATH", path);
    command
}

/// An address with a free port.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

impl Proxy {
    /// Starts a proxy in front of this address with the guide's recipe. Addresses, files and the
    /// seconds of silence before it ends a tunnel differ. `None` if the proxy or openssl is not
    /// installed; the test is then reported as skipped.
    pub async fn start(kind: Kind, backend: SocketAddr, idle_secs: u64, test: &str) -> Option<Proxy> {
        if !is_installed(kind.program(), test) || !is_installed("openssl", test) {
            return None;
        }
        let folder = Folder::new();
        certify(&folder.0);
        let [tls, plain, admin] = [free_address(), free_address(), free_address()];
        let config = folder.0.join("config");
        let mut proxy = Proxy { kind, tls, plain, admin, config, folder, children: Vec::new() };
        for _ in 0..ATTEMPTS {
            std::fs::write(&proxy.config, proxy.configured(backend, idle_secs)).unwrap();
            let child = proxy.command().process_group(0).spawn().unwrap();
            proxy.children.push(Running(child));
            if proxy.is_up().await {
                return Some(proxy);
            }
            proxy.children.clear();
            [proxy.tls, proxy.plain, proxy.admin] = [free_address(), free_address(), free_address()];
        }
        let log = std::fs::read_to_string(proxy.folder.0.join("log")).unwrap_or_default();
        panic!("{kind:?} does not start:\n{log}\n{}", proxy.configured(backend, idle_secs));
    }

    /// The certificate that clients have to trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.0.join("cert.pem")
    }

    /// The URL of the session, with TLS.
    pub fn url(&self) -> String {
        format!("wss://localhost:{}{PREFIX}{}", self.tls.port(), aloud::PATH)
    }

    /// The recipe twice, with TLS and without, inside the minimal configuration of the proxy.
    fn configured(&self, backend: SocketAddr, idle_secs: u64) -> String {
        let Proxy { kind, tls, plain, admin, folder, .. } = self;
        let folder = folder.0.display();
        let recipe = replaced(&kind.recipe(), BACKEND, &backend.to_string());
        let recipe = match kind {
            Kind::Nginx => replaced(&recipe, " 75s", &format!(" {idle_secs}s")),
            Kind::Haproxy | Kind::HaproxyH2 => {
                let recipe = replaced(&recipe, "tunnel 75s", &format!("tunnel {idle_secs}s"));
                replaced(&recipe, BOTH, &format!("{folder}/both.pem"))
            }
            // Caddy has no such limit.
            Kind::Caddy => recipe,
            Kind::Apache => replaced(&recipe, "timeout=75", &format!("timeout={idle_secs}")),
        };
        let recipe = match kind {
            Kind::Haproxy | Kind::HaproxyH2 => recipe,
            _ => {
                let recipe = replaced(&recipe, CERTIFICATE, &format!("{folder}/cert.pem"));
                replaced(&recipe, KEY, &format!("{folder}/key.pem"))
            }
        };
        match kind {
            Kind::Nginx => {
                let secure = replaced(&recipe, "listen 443 ssl", &format!("listen {tls} ssl"));
                let open = without(&replaced(&recipe, "listen 443 ssl", &format!("listen {plain}")), "ssl_");
                let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|what| format!("    {what}_temp_path {folder};\n"))
                    .concat();
                // As root, nginx would switch to a user that cannot read the key.
                let user = if is_root() { "user root;\n" } else { "" };
                format!(
                    "{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/log notice;\nworker_processes 2;\n\
                     events {{ }}\nhttp {{\n    access_log off;\n{temporary}{secure}{open}}}\n"
                )
            }
            Kind::Haproxy | Kind::HaproxyH2 => {
                let bind = recipe.lines().find(|line| line.trim().starts_with("bind ")).unwrap();
                let secure = bind.replace(":443", &tls.to_string());
                let recipe = recipe.replace(bind, &format!("{secure}\n    bind {plain}"));
                format!("global\n    maxconn 1000\n\n{recipe}")
            }
            Kind::Caddy => {
                // A name, since Caddy would request a certificate for an address.
                let secure = replaced(
                    &recipe,
                    "speech.example.com {",
                    &format!("https://localhost:{0}, https://127.0.0.1:{0} {{", tls.port()),
                );
                let site = format!("http://localhost:{0}, http://127.0.0.1:{0} {{", plain.port());
                let open = without(&replaced(&recipe, "speech.example.com {", &site), "    tls ");
                format!(
                    "{{\n    admin {admin}\n    auto_https off\n    storage file_system {folder}/caddy\n}}\n{secure}{open}"
                )
            }
            Kind::Apache => {
                let secure = replaced(&recipe, "*:443", &tls.to_string());
                let open = without(&replaced(&recipe, "*:443", &plain.to_string()), "SSL");
                let modules =
                    ["mpm_event", "authz_core", "ssl", "socache_shmcb", "headers", "proxy", "proxy_http"]
                        .map(|name| {
                            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                        })
                        .concat();
                let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
                // The longer of two timeouts counts: the one of the server, and the one of the recipe.
                format!(
                    "Timeout {idle_secs}\nServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/log\nServerName localhost\n\
                     DefaultRuntimeDir {folder}\nMutex file:{folder}\nStartServers 1\n{modules}{user}\
                     Listen {tls}\nListen {plain}\n{secure}{open}"
                )
            }
        }
    }

    /// The proxy as a process in the foreground.
    fn command(&self) -> Command {
        let mut command = program(self.kind.program());
        let config = self.config.as_os_str();
        match self.kind {
            Kind::Nginx => command.arg("-p").arg(&self.folder.0).arg("-c").arg(config),
            Kind::Haproxy | Kind::HaproxyH2 => command.arg("-db").arg("-f").arg(config),
            Kind::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config),
            Kind::Apache => command.arg("-DFOREGROUND").arg("-f").arg(config),
        };
        let log = std::fs::File::options().create(true).append(true).open(self.folder.0.join("log")).unwrap();
        let home = self.folder.0.as_os_str();
        command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("XDG_DATA_HOME", home);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Waits until it listens, or has ended.
    async fn is_up(&mut self) -> bool {
        let mut turn = tokio::time::interval(Duration::from_millis(10));
        let child = &mut self.children.last_mut().unwrap().0;
        within(async {
            loop {
                turn.tick().await;
                if !matches!(child.try_wait(), Ok(None)) {
                    return false;
                }
                if TcpStream::connect(self.tls).await.is_ok() && TcpStream::connect(self.plain).await.is_ok()
                {
                    return true;
                }
            }
        })
        .await
    }

    /// Reloads the configuration as the manual of the proxy says. Returns once the new one serves.
    pub async fn reload(&mut self) {
        match self.kind {
            Kind::Nginx => {
                let mut command = self.command();
                command.args(["-s", "reload"]);
                self.finishes(command);
                self.logs("gracefully shutting down").await;
            }
            Kind::Haproxy | Kind::HaproxyH2 => {
                let mut command = self.command();
                command.arg("-sf").arg(self.children[0].0.id().to_string()).process_group(0);
                let successor = Running(command.spawn().unwrap());
                self.children.push(successor);
                assert!(self.is_up().await, "HAProxy's successor starts");
                self.logs("Proxy speech stopped").await;
            }
            Kind::Caddy => {
                let mut command = program("caddy");
                command.args(["reload", "--force", "--adapter", "caddyfile", "--config"]).arg(&self.config);
                command.arg("--address").arg(self.admin.to_string());
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                self.finishes(command);
            }
            Kind::Apache => {
                let mut command = self.command();
                command.args(["-k", "graceful"]);
                self.finishes(command);
                self.logs("resuming normal operations").await;
            }
        }
    }

    fn finishes(&self, mut command: Command) {
        let status = command.status().unwrap();
        let log = || std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
        assert!(status.success(), "{:?}: {status}\n{}", self.kind, log());
    }

    /// Waits for a line in the log.
    async fn logs(&self, line: &str) {
        let mut turn = tokio::time::interval(Duration::from_millis(10));
        within(async {
            loop {
                let log = std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
                // Apache logs it at its start too.
                let wanted = if self.kind == Kind::Apache { 2 } else { 1 };
                if log.matches(line).count() >= wanted {
                    return;
                }
                turn.tick().await;
            }
        })
        .await;
    }

    /// Opens a connection to the proxy, with TLS or without.
    pub async fn connect(&self, secure: bool) -> Raw<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match secure {
            true => Box::new(Tls::connect(self.tls, &self.certificate())),
            false => {
                let stream = within(TcpStream::connect(self.plain)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
        };
        Raw::over(stream, PATIENCE)
    }

    /// Address of the proxy, with TLS or without.
    pub fn addr(&self, secure: bool) -> SocketAddr {
        if secure { self.tls } else { self.plain }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes a key, a self-signed certificate, and a file with both.
fn certify(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "2", "-subj", "/CN=aloud test", "-keyout", "key.pem", "-out", "cert.pem"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    let output = openssl.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let pem = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    std::fs::write(folder.join("both.pem"), pem("cert.pem") + &pem("key.pem")).unwrap();
}

/// Any stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// TLS by openssl, which forwards each byte at once.
pub struct Tls {
    _openssl: tokio::process::Child,
    input: tokio::process::ChildStdin,
    output: tokio::process::ChildStdout,
}

impl Tls {
    fn connect(addr: SocketAddr, trusted: &Path) -> Tls {
        let mut openssl = tokio::process::Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-verify_quiet", "-nocommands", "-verify_return_error"]);
        openssl.args(["-servername", "localhost", "-verify_hostname", "localhost", "-alpn", "http/1.1"]);
        openssl.arg("-connect").arg(addr.to_string()).arg("-CAfile").arg(trusted).kill_on_drop(true);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut openssl = openssl.spawn().unwrap();
        let (input, output) = (openssl.stdin.take().unwrap(), openssl.stdout.take().unwrap());
        Tls { _openssl: openssl, input, output }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(cx)
    }
}
