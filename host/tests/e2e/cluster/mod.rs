//! Several nodes over one PostgreSQL, one Redis and one store, whatever the environment asks
//! for: real processes that die at any moment.

mod chaos;
mod clocks;
mod deaths;
mod fairness;
mod nodes;
mod redis;

use std::time::Duration;

use genvid_testkit::Vendor;
use rand::rngs::StdRng;

use crate::support::{
    client::Client,
    database::Database,
    seed::pause,
    server::{Launch, Server, free_port},
    world::{Setup, World},
};

/// Vendors are given this long before an empty look-up counts as proof. Nobody waits for it
/// here: a call that has come in has done so after this much less, and simulators tell how
/// long the oldest one has taken that they have not written down yet.
const SETTLED: Duration = Duration::from_secs(150);
const COME_IN: Duration = Duration::from_secs(20);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Api,
    Worker,
}

/// A process of the cluster, or its place while it is dead.
struct Node {
    role: Role,
    launch: Launch,
    server: Option<Server>,
}

/// Nodes, and what they share. Dropping it ends all of them.
struct Cluster {
    // First, so that they end before what they use.
    nodes: Vec<Node>,
    world: World,
}

impl Cluster {
    /// Starts `api` nodes and `workers`, all at once, on tables that are still to be made.
    async fn start(setup: Setup, api: usize, workers: usize) -> Self {
        let world = setup.on_servers().start_vendors().await;
        // Vendors that refuse for want of a slot are another subject.
        for vendor in Vendor::ALL {
            world.vendor(vendor).set_concurrency(0);
        }
        let mut cluster = Self {
            nodes: Vec::new(),
            world,
        };
        for number in 0..api + workers {
            let role = if number < api {
                Role::Api
            } else {
                Role::Worker
            };
            let launch = cluster.launch(number, role);
            let server = None;
            cluster.nodes.push(Node {
                role,
                launch,
                server,
            });
        }
        let starts = cluster.nodes.iter_mut().map(Node::rise);
        futures::future::join_all(starts).await;
        cluster
    }

    fn launch(&self, number: usize, role: Role) -> Launch {
        let mut launch = self.world.launch.clone();
        launch.folder = self.world.launch.folder.join(format!("node-{number}"));
        std::fs::create_dir_all(&launch.folder).expect("a folder for the node");
        launch.data = launch.folder.join("data");
        // Vendors call the first one back.
        if number > 0 {
            launch.port = free_port();
        }
        let role = match role {
            Role::Api => "api",
            Role::Worker => "worker",
        };
        let role = ("GENVID__SERVER__ROLE".to_owned(), role.to_owned());
        launch.env.push(role);
        launch
    }

    /// A client of one of the nodes that answer.
    fn client(&self, number: usize) -> Client {
        let node = &self.nodes[number];
        assert_eq!(node.role, Role::Api);
        Client::new(&node.url(), Some(&node.launch.token))
    }

    /// The numbers of the nodes with this role.
    fn of_role(&self, role: Role) -> Vec<usize> {
        let numbers = 0..self.nodes.len();
        numbers
            .filter(|number| self.nodes[*number].role == role)
            .collect()
    }

    /// Lets vendors' times for proofs be over, for all outcomes that are looked up now.
    async fn settle(&self) {
        let busy = Vendor::ALL.map(|vendor| self.world.vendor(vendor).busy_for());
        let busy = busy.into_iter().max().unwrap_or_default();
        self.database()
            .age_lost_attempts(SETTLED, COME_IN + busy)
            .await;
    }

    fn database(&self) -> Database {
        self.world.database()
    }

    /// SIGTERM to all nodes, and a new one over the same servers: what it sees is the truth.
    /// Nothing may be left leased by those that went in peace.
    async fn survey(mut self) -> World {
        for node in &mut self.nodes {
            if let Some(mut server) = node.server.take() {
                server.terminate().await;
            }
        }
        assert_eq!(
            self.database().leases().await,
            0,
            "something is left leased"
        );
        self.world.with_server().await
    }
}

impl Node {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.launch.port)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Stands still for longer than a lease lasts, and goes on.
    async fn stand_still(&self, random: &mut StdRng) {
        if let Some(server) = &self.server {
            server.freeze();
            pause(random, 3_500..6_000).await;
            server.wake();
        }
    }

    /// Starts it, for the first time or again. What it needs may be away for a moment: an
    /// init system tries again, and so does this.
    async fn rise(&mut self) {
        let mut said = String::new();
        for _ in 0..20 {
            match Server::try_start(&self.launch).await {
                Ok(server) => {
                    self.server = Some(server);
                    return;
                }
                Err(why) => said = why,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("a node does not start: {said}");
    }
}

/// Quick vendors with many slots: what is tested is the cluster.
fn quick() -> Setup {
    Setup::default()
        .profile(|pace| {
            pace.render = Duration::from_millis(500);
            pace.speak = Duration::from_millis(50);
            pace.write = Duration::from_millis(50);
        })
        .set("providers.openai.concurrency", 40)
        .set("providers.elevenlabs.concurrency", 40)
        .set("database.max_connections", 12)
        // Whatever was begun is soon done: a death costs less.
        .set("media.fetch_concurrency", 2)
        .set("jobs.lease_seconds", 3)
}
