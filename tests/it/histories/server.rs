//! PostgreSQL as the ground of histories: a server that is restarted, a line to it that breaks, and its clock, which runs with
//! the simulation's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use omgate::clock::SharedClock;
use omgate::store::postgres::{Options, PostgresStore};
use omgate::store::{Health, Store};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::line::{Cut, Line};
use crate::postgres::{self, Server, Trust, address, connect};
use crate::simulation::look::Look;
use crate::simulation::steps::Disk;
use crate::simulation::store::Ground;
use crate::simulation::{wait, work_on};

/// A store that has its tables, to be copied.
const TEMPLATE: &str = "tables";
/// What the store itself allows a command.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// The store comes back by itself within this.
const BACK_MAX: Duration = Duration::from_secs(20);

/// Servers of which no history makes use just now. Each history has one alone, because it may be restarted.
static FREE: Mutex<Vec<Arc<Server>>> = Mutex::new(Vec::new());

/// A database in a server that no other history uses.
pub(super) struct ServerGround {
    server: Arc<Server>,
    database: String,
    line: Line,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    admin: Option<Client>,
    /// The store that looks on, over a line that never breaks. It is another gateway on the same database.
    beside: Option<Arc<PostgresStore>>,
    gateway: Weak<PostgresStore>,
    /// So far the server's clock has been brought.
    passed: Duration,
}

impl ServerGround {
    /// None where there is no server that may be restarted.
    pub(super) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        work_on(postgres::runtime().handle());
        let free = FREE.lock().unwrap().pop();
        let server = match free {
            Some(server) => server,
            None => prepared(postgres::alone(Trust::Machine)?),
        };
        let database = format!("history{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let line = wait(async {
            let admin = connect(&server.url("postgres")).await;
            admin.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {TEMPLATE}")).await.unwrap();
            Line::to(server.port).await
        });
        Some(Self { server, database, line, state: Mutex::default() })
    }

    fn url(&self) -> String {
        self.server.url(&self.database)
    }

    fn open(&self, url: &str, clock: SharedClock, hold_unknown: Vec<String>) -> Arc<PostgresStore> {
        let machine = omgate::clock::SystemClock::shared();
        let options =
            Options { connections: 4, hold_unknown, time: Some(clock), ..Options::new(address(url), machine) };
        wait(PostgresStore::open(options)).unwrap()
    }

    /// Brings the server's clock on, for all that goes by it; how many leases have run out.
    fn bring_on(&self, state: &mut State, by: Duration) -> i64 {
        let sql = "WITH by AS MATERIALIZED (SELECT make_interval(secs => $1) AS it),
                   turned AS (UPDATE omgate.system SET next_call = next_call - by.it, probing_until = probing_until - by.it
                       FROM by WHERE next_call IS NOT NULL OR probing_until IS NOT NULL),
                   leased AS (UPDATE omgate.delivery SET lease_until = lease_until - by.it
                       FROM by WHERE state = 'in_flight' RETURNING lease_until)
                   SELECT count(*) FROM leased WHERE lease_until < clock_timestamp()";
        wait(async {
            if state.admin.is_none() {
                state.admin = Some(connect(&self.url()).await);
            }
            let admin = state.admin.as_ref().unwrap();
            admin.query_typed(sql, &[(&by.as_secs_f64(), Type::FLOAT8)]).await.unwrap()[0].get(0)
        })
    }

    /// The gateway's store works again, as soon as it notices that the database does.
    fn restore(&self) {
        self.line.restore();
        if let Some(gateway) = self.state.lock().unwrap().gateway.upgrade() {
            let mut health = gateway.health();
            let back = health.wait_for(|health| *health == Health::Ready);
            let back = wait(async { tokio::time::timeout(BACK_MAX, back).await.is_ok_and(|back| back.is_ok()) });
            assert!(back, "the store does not come back by itself: {:?}", gateway.condition());
        }
    }
}

/// Makes the tables that histories begin with.
fn prepared(server: Arc<Server>) -> Arc<Server> {
    wait(async {
        let admin = connect(&server.url("postgres")).await;
        let sql = format!("CREATE DATABASE {TEMPLATE} ENCODING 'UTF8' TEMPLATE template0");
        admin.batch_execute(&sql).await.unwrap();
        let url = server.url(TEMPLATE);
        let store =
            PostgresStore::open(Options::new(address(&url), omgate::clock::SystemClock::shared())).await.unwrap();
        store.close().await;
        let others =
            format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'");
        drop(store);
        admin.batch_execute(&others).await.unwrap();
    });
    server
}

impl Ground for ServerGround {
    fn open(&self, clock: SharedClock, hold_unknown: Vec<String>) -> Arc<dyn Store> {
        let mut state = self.state.lock().unwrap();
        state.passed = clock.monotonic();
        // Whatever the process before had leased: its leases run out before the next one looks.
        self.bring_on(&mut state, Duration::from_secs(3_600));
        let through = self.url().replace(&self.server.port.to_string(), &self.line.port.to_string());
        let gateway = self.open(&through, Arc::clone(&clock), hold_unknown.clone());
        state.gateway = Arc::downgrade(&gateway);
        if state.beside.is_none() {
            state.beside = Some(self.open(&self.url(), clock, hold_unknown));
        }
        gateway
    }

    /// A full disk is a database that cannot be reached; the others are connections that are lost at a commit.
    fn set(&self, disk: Disk) {
        match disk {
            Disk::Fine => {}
            Disk::Full => return self.line.break_down(),
            Disk::Late => self.line.cut_at(0, Cut::Before),
            Disk::Broken => self.line.cut_at(0, Cut::After),
        }
        self.restore();
    }

    /// The server stops in the middle of everything, and starts again.
    fn lose_power(&self, _: u64) {
        let mut state = self.state.lock().unwrap();
        (state.admin, state.beside) = (None, None);
        self.server.restart();
    }

    fn beside(&self, _: &Arc<dyn Store>) -> Look {
        let state = self.state.lock().unwrap();
        Look::by_questions(Arc::clone(state.beside.as_ref().unwrap()) as Arc<dyn Store>)
    }

    fn pass(&self, passed: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        let by = passed.saturating_sub(state.passed);
        if by.is_zero() {
            return false;
        }
        state.passed = passed;
        let ran_out = self.bring_on(&mut state, by) > 0;
        if ran_out && let Some(beside) = &state.beside {
            wait(beside.rescue()).unwrap();
        }
        ran_out
    }

    fn command_max(&self) -> Duration {
        COMMAND_MAX
    }
}

impl Drop for ServerGround {
    fn drop(&mut self) {
        *self.state.get_mut().unwrap_or_else(PoisonError::into_inner) = State::default();
        if std::thread::panicking() {
            // How the server stands nobody knows: the next history takes another.
            return;
        }
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database);
        let url = self.server.url("postgres");
        postgres::wait(async move { connect(&url).await.batch_execute(&sql).await.unwrap() });
        FREE.lock().unwrap().push(Arc::clone(&self.server));
    }
}
