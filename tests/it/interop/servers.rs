//! The servers: what each needs, how it is built, started on a free port, and stopped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::free_port;

/// How long a server may take to listen: a Java one on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a server may live.
const LIFE_SECONDS: &str = "600";

/// Where Debian keeps its jars.
const JARS: &str = "/usr/share/java";

const AXIS: &[&str] = &[
    "axis",
    "axis-jaxrpc",
    "axis-saaj",
    "jaxrpc",
    "saaj",
    "wsdl4j",
    "commons-discovery",
    "commons-logging",
    "javax.mail",
    "javax.activation",
];

const JAX_WS: &[&str] = &[
    "jaxws-api",
    "jaxws-rt",
    "jaxws-ri-runtime",
    "jaxb-api",
    "jaxb-runtime",
    "jaxb-core",
    "jaxb-impl",
    "saaj-impl",
    "javax.xml.soap-api",
    "javax.activation",
    "streambuffer",
    "stax-ex",
    "mimepull",
    "FastInfoset",
    "istack-commons-runtime",
    "txw2",
    "gmbal",
    "glassfish-management-api",
    "metro-policy",
    "jws-api",
    "geronimo-annotation-1.3-spec",
    "woodstox-core",
    "stax2-api",
    "glassfish-pfl-basic",
    "glassfish-pfl-tf",
    "asm",
    "wss4j",
    "xmlsec",
    "commons-logging",
    "slf4j-api",
];

/// The folder with the servers' sources and their WSDLs.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop")
}

/// Where `.ci/run` puts what comes from Python's and Node's own registries: `python` and `node`.
pub(crate) fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop")
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stack {
    Php,
    Gsoap,
    Node,
    Spyne,
    Asmx,
    Lite,
    Axis,
    JaxWs,
}

impl Stack {
    fn name(self) -> &'static str {
        match self {
            Self::Php => "PHP SoapServer",
            Self::Gsoap => "gSOAP",
            Self::Node => "node-soap",
            Self::Spyne => "spyne",
            Self::Asmx => "ASP.NET on Mono",
            Self::Lite => "SOAP::Lite",
            Self::Axis => "Apache Axis 1.4",
            Self::JaxWs => "JAX-WS RI and WSS4J",
        }
    }

    /// What is missing on this machine, in words.
    fn missing(self) -> Option<String> {
        let jars = |names: &[&str]| {
            let absent = |name: &&&str| !Path::new(JARS).join(format!("{name}.jar")).exists();
            command("javac", &["-version"])
                .or_else(|| names.iter().find(absent).map(|name| format!("{JARS}/{name}.jar is not installed")))
        };
        match self {
            Self::Php => command("php", &["-r", "exit(class_exists('SoapServer') ? 0 : 1);"]),
            Self::Gsoap => command("soapcpp2", &["-V"]).or_else(|| command("cc", &["--version"])),
            Self::Node => {
                let package = installed().join("node/node_modules/soap");
                let absent = || (!package.exists()).then(|| format!("{} is not installed", package.display()));
                command("node", &["--version"]).or_else(absent)
            }
            Self::Spyne => command(&python(), &["-c", "import spyne, lxml"]),
            Self::Asmx => command("mcs", &["--version"]).or_else(|| command("mono", &["--version"])),
            Self::Lite => command("perl", &["-MSOAP::Transport::HTTP", "-e", "1"]),
            Self::Axis => jars(AXIS),
            Self::JaxWs => jars(JAX_WS),
        }
    }

    /// Builds the server; none when it is not installed, and says so.
    pub(super) fn prepare(self) -> Option<Prepared> {
        if let Some(reason) = self.missing() {
            // Past the harness's capture: a test that did not run must be seen.
            let text = format!("skipped: {}: {reason}\n", self.name());
            std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
            return None;
        }
        let build = tempfile::tempdir().unwrap();
        for step in self.steps(build.path()) {
            run(step);
        }
        Some(Prepared { stack: self, build })
    }

    fn steps(self, build: &Path) -> Vec<Command> {
        let source = |name: &str| folder().join(name);
        let step = |program: &str, arguments: &[&str]| {
            let mut step = Command::new(program);
            step.args(arguments).current_dir(build);
            step
        };
        match self {
            Self::Php | Self::Node | Self::Spyne | Self::Lite => Vec::new(),
            Self::Gsoap => {
                let mut generate = step("soapcpp2", &["-c", "-S", "-L", "-x"]);
                generate.arg(source("gsoap.h"));
                let mut compile = step("cc", &["-w", "-I.", "-o", "server", "soapC.c", "soapServer.c"]);
                compile.arg(source("gsoap.c")).arg("-lgsoap");
                vec![generate, compile]
            }
            Self::Asmx => {
                std::fs::create_dir(build.join("bin")).unwrap();
                std::fs::copy(source("interop.asmx"), build.join("interop.asmx")).unwrap();
                let mut compile = step("mcs", &["-out:bin/server.dll", "-target:exe"]);
                compile.arg(source("asmx.cs")).args(["-r:System.Web", "-r:System.Web.Services"]);
                vec![compile]
            }
            Self::Axis => {
                // Axis reads the class file itself, and knows those of its time only.
                let mut compile =
                    step("javac", &["-g", "-XDstringConcat=inline", "--release", "8", "-nowarn", "-d", "."]);
                compile.args(["-cp", &class_path(AXIS, build)]).arg(source("Axis.java"));
                vec![compile]
            }
            Self::JaxWs => {
                let mut compile = step("javac", &["-nowarn", "-d", "."]);
                compile.args(["-cp", &class_path(JAX_WS, build)]).arg(source("JaxWs.java"));
                vec![compile]
            }
        }
    }

    fn command(self, build: &Path, port: u16) -> Command {
        let source = |name: &str| folder().join(name);
        let mut command = match self {
            Self::Php => Command::new("php"),
            Self::Gsoap => Command::new(build.join("server")),
            Self::Node => Command::new("node"),
            Self::Spyne => Command::new(python()),
            Self::Asmx => Command::new("mono"),
            Self::Lite => Command::new("perl"),
            Self::Axis | Self::JaxWs => Command::new("java"),
        };
        match self {
            Self::Php => command.args(["-S", &format!("127.0.0.1:{port}")]).arg(source("php.php")),
            Self::Gsoap => &mut command,
            Self::Node => command.arg(source("node.js")).env("NODE_PATH", installed().join("node/node_modules")),
            Self::Spyne => command.arg(source("spyne_server.py")),
            Self::Asmx => command.arg(build.join("bin/server.dll")).arg(build),
            Self::Lite => command.arg(source("lite.pl")),
            Self::Axis => command.args(["-cp", &class_path(AXIS, build), "Axis"]).arg(source("axis.wsdd")),
            Self::JaxWs => command.args(["-cp", &class_path(JAX_WS, build), "JaxWs"]),
        };
        command
    }

    fn path(self) -> &'static str {
        match self {
            Self::Php | Self::Gsoap | Self::Spyne | Self::Lite => "/",
            Self::Node | Self::JaxWs => "/interop",
            Self::Asmx => "/interop.asmx",
            Self::Axis => "/axis/services/Interop",
        }
    }
}

/// A server that can be started.
pub(super) struct Prepared {
    stack: Stack,
    build: tempfile::TempDir,
}

impl Prepared {
    /// Starts the server on a free port of 127.0.0.1, and waits until it listens.
    pub(super) async fn start(&self, environment: &[(&str, &str)]) -> Running {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let server = self.stack.command(self.build.path(), port);
        // Ends by itself, should this process be killed and not come to stop it.
        let child = Command::new("timeout")
            .args(["--kill-after=5", LIFE_SECONDS])
            .arg(server.get_program())
            .args(server.get_args())
            .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PORT", port.to_string())
            .env("SEEN", folder.path().join("seen"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut running = Running { stack: self.stack, port, folder, child };
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let ended = running.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} does not listen: {}",
                running.name(),
                running.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running
    }
}

/// A server that listens; it ends with its value.
pub(super) struct Running {
    stack: Stack,
    port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl Running {
    pub(super) fn name(&self) -> &'static str {
        self.stack.name()
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.stack.path())
    }

    pub(super) fn wsdl(&self) -> &'static str {
        match self.stack {
            Stack::Lite | Stack::Axis => "encoded.wsdl",
            Stack::Php | Stack::Gsoap | Stack::Node | Stack::Spyne | Stack::Asmx | Stack::JaxWs => "document.wsdl",
        }
    }

    /// What it saw last; nothing when it saw nothing since it was asked.
    pub(super) fn seen(&self) -> String {
        let path = self.folder.path().join("seen");
        let seen = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        seen
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `timeout` hands the signal on.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn python() -> String {
    let own = installed().join("python/bin/python");
    if own.exists() { own.display().to_string() } else { "python3".to_owned() }
}

fn class_path(jars: &[&str], build: &Path) -> String {
    let mut paths: Vec<String> = jars.iter().map(|name| format!("{JARS}/{name}.jar")).collect();
    paths.push(build.display().to_string());
    paths.join(":")
}

/// Why a command cannot be used; none when it can.
fn command(program: &str, arguments: &[&str]) -> Option<String> {
    let ended = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match ended {
        Ok(status) if status.success() => None,
        Ok(_) => Some(format!("{program} lacks what it needs ({})", arguments.join(" "))),
        Err(_) => Some(format!("{program} is not installed")),
    }
}

fn run(mut step: Command) {
    let output = step.output().unwrap_or_else(|error| panic!("{step:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{step:?}: {}", String::from_utf8_lossy(&text));
}
