//! A real PostgreSQL for the tests: one cluster a test process, started when the first test wants it, and stopped when the
//! process is gone, however it ended. Each test has a database of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use omgate::secret::Text;
use omgate::store::postgres::Address;

/// Names a server that runs already, as `postgres://user@host/database`: its user makes the databases of the tests.
const GIVEN: &str = "OMGATE_TEST_POSTGRES";

/// A server, and how to make databases in it.
pub(crate) struct Server {
    /// The address less the database.
    url: String,
    /// The cluster's folder, when the tests started it.
    folder: Option<PathBuf>,
    bin: PathBuf,
    pub(crate) port: u16,
}

/// The server of this process; none when there is no PostgreSQL, which is said once.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let found = SERVER.get_or_init(|| match Server::find() {
        Ok(server) => Some(server),
        Err(reason) => {
            println!("the tests of PostgreSQL are skipped: {reason}");
            None
        }
    });
    if found.is_none() {
        println!("skipped: there is no PostgreSQL");
    }
    found.as_ref()
}

/// A runtime for stores and connections that outlive the test's own.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Waits for something that runs on [`runtime`], from within a test's own runtime too.
pub(crate) fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| runtime().block_on(future)).join().unwrap()
}

impl Server {
    fn find() -> Result<Self, String> {
        if let Ok(url) = std::env::var(GIVEN) {
            let (url, _) = url.rsplit_once('/').ok_or_else(|| format!("{GIVEN} names no database"))?;
            return Ok(Self { url: url.to_owned(), folder: None, bin: PathBuf::new(), port: 0 });
        }
        start("shared", Trust::Machine)
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.url)
    }

    /// Restarts the server as if its machine had failed. Only one that the tests started.
    pub(crate) fn restart(&self) {
        let folder = self.folder.as_ref().expect("the tests started it");
        let log = folder.join("log");
        let command = format!(
            "{} -D {} -m immediate -w -t 60 -l {} restart",
            self.bin.join("pg_ctl").display(),
            folder.join("data").display(),
            log.display()
        );
        let status = as_user(&command).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Makes the database of a server of one's own; its address.
    pub(crate) fn create(&self) -> String {
        let url = self.url("postgres");
        wait(async move { connect(&url).await.batch_execute("CREATE DATABASE omgate").await.unwrap() });
        self.url("omgate")
    }

    /// Lets it speak TLS with a certificate and its key. Only one that the tests started.
    pub(crate) async fn speak_tls(&self, certificate: &Path, key: &Path) {
        let data = self.folder.as_ref().expect("the tests started it").join("data");
        for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = data.join(to);
            std::fs::copy(from, &to).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&to, mode).unwrap();
            if is_root() {
                assert!(Command::new("chown").arg("postgres").arg(&to).status().unwrap().success());
            }
        }
        let client = connect(&self.url("postgres")).await;
        client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        until("it speaks TLS", Duration::from_secs(10), async || {
            let rows = client.query_typed("SELECT current_setting('ssl')", &[]).await.unwrap();
            rows[0].get::<_, &str>(0) == "on"
        })
        .await;
    }

    /// Whether it can be restarted.
    pub(crate) fn is_ours(&self) -> bool {
        self.folder.is_some()
    }
}

/// A server of the test's own, for what disturbs all who use it.
pub(crate) fn alone(trust: Trust) -> Option<std::sync::Arc<Server>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    server().filter(|server| server.is_ours())?;
    let name = format!("alone{}", NEXT.fetch_add(1, Ordering::SeqCst));
    Some(std::sync::Arc::new(start(&name, trust).unwrap()))
}

/// Makes an empty database; its address.
pub(crate) fn database() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let sql = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
    wait(async move { execute("postgres", &sql).await });
    Some(server.url(&name))
}

/// Removes a database, whoever still works on it.
pub(crate) fn remove(url: &str) {
    let Some((_, name)) = url.rsplit_once('/') else { return };
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    // Nobody waits for it: what is left goes with the cluster.
    runtime().spawn(async move { execute("postgres", &sql).await });
}

/// Runs statements in a database of the server.
pub(crate) async fn execute(database: &str, sql: &str) {
    let client = connect(&server().unwrap().url(database)).await;
    client.batch_execute(sql).await.unwrap();
}

/// A connection of the test's own.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    runtime().spawn(connection);
    client
}

/// An address as the configuration makes it.
pub(crate) fn address(url: &str) -> Address {
    Address::parse(&Text::plain(url)).unwrap()
}

/// The folder with `initdb` and `pg_ctl`; the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    folders
        .into_iter()
        .rev()
        .chain(on_path.unwrap_or_default())
        .find(|folder| ["initdb", "pg_ctl"].iter().all(|program| folder.join(program).is_file()))
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package makes.
fn as_user(command: &str) -> Command {
    let mut shell;
    if is_root() {
        shell = Command::new("su");
        shell.args(["postgres", "-s", "/bin/sh", "-c", command]);
    } else {
        shell = Command::new("/bin/sh");
        shell.args(["-c", command]);
    }
    shell.current_dir("/").stdin(Stdio::null());
    shell
}

/// What a server relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// That the machine does not fail: nothing is synced.
    Machine,
    /// That what is synced stays.
    Disk,
}

fn start(name: &str, trust: Trust) -> Result<Server, String> {
    let bin = programs().ok_or_else(|| "no initdb was found; install postgresql".to_owned())?;
    let folder = std::env::temp_dir().join(format!("omgate-postgres-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if is_root() {
        let owned = Command::new("chown").arg("postgres").arg(&folder).status();
        if !owned.is_ok_and(|status| status.success()) {
            return Err("there is no user postgres for it to run as".to_owned());
        }
    }
    watch(&folder);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    let (data, log) = (folder.join("data"), folder.join("log"));
    let command = format!(
        "{bin}/initdb -D {data} -U app -A trust --no-sync --locale=C.UTF-8 -E UTF8 >/dev/null && \
         {bin}/pg_ctl -w -t 60 -D {data} -l {log} -o '-c listen_addresses=127.0.0.1 -c port={port} \
         -c unix_socket_directories={folder} -c max_connections=400 -c shared_buffers=64MB -c fsync={fsync}' \
         start >/dev/null",
        fsync = if trust == Trust::Disk { "on" } else { "off" },
        bin = bin.display(),
        data = data.display(),
        log = log.display(),
        folder = folder.display(),
    );
    let started = Instant::now();
    let output = as_user(&command).stdout(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("it did not start: {said}{}", std::fs::read_to_string(&log).unwrap_or_default()));
    }
    println!("PostgreSQL listens on 127.0.0.1:{port} after {} ms", started.elapsed().as_millis());
    let url = format!("postgres://app@127.0.0.1:{port}");
    Ok(Server { url, folder: Some(folder), bin, port })
}

/// Sees to it that the server ends with this process: a shell waits for the one and stops the other.
fn watch(folder: &Path) {
    let script = format!(
        "while [ -d /proc/{process} ]; do sleep 0.2; done
         server=$(head -n 1 {folder}/data/postmaster.pid 2>/dev/null) && kill -QUIT \"$server\" 2>/dev/null
         for try in 1 2 3 4 5 6 7 8 9 10; do [ -d \"/proc/$server\" ] || break; sleep 0.3; done
         rm -rf {folder}",
        process = std::process::id(),
        folder = folder.display(),
    );
    let watchdog = Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    assert!(watchdog.is_ok(), "the shell that stops PostgreSQL");
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "in {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
