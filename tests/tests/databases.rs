//! Two real databases, of which one speaks first: their own clients get in through the gateway's TLS and in no other
//! way.

use postern_config::layout::SIDECAR_CONTAINER;
use postern_echo::attempt::Identity;
use postern_tests::attack::{self, Attack};
use postern_tests::gateway::{self, Forward, Gateway};
use postern_tests::{Sharing, Test, cluster, forge, install, lock, logs, run, wait};
use serde_json::{Value, json};

const IMAGE: &str = "postern.dev/test-databases:dev";
/// Of the lock, the Deployment's pod and the Service.
const NAME: &str = "databases";
const CLIENT: &str = "client";
const MARIADB: u16 = 3306;
const POSTGRESQL: u16 = 5432;
/// Bytes of one value, larger than any buffer on the way.
const LARGE: usize = 8 << 20;

#[test]
fn speak_with_their_own_clients() {
    run(Sharing::Shared, async |test| {
        let (cluster, namespace) = (&test.cluster, &test.namespace);
        // By the names of the Service's ports, they are TCP.
        cluster.apply(&lock::trust(namespace, NAME, NAME)).await;
        let keys = [("mariadb", MARIADB), ("postgresql", POSTGRESQL)]
            .map(|(name, port)| lock::route(namespace, name, NAME, install::EDGE.0, NAME, port));
        cluster.apply_all(&keys).await;
        cluster.apply(&service(namespace)).await;
        lock::trust_says(cluster, namespace, NAME, ("Armed", "True", "")).await;
        cluster.apply_all(&[pod(namespace), client(namespace)]).await;
        lock::trust_says(cluster, namespace, NAME, ("Ready", "True", "")).await;
        for key in &keys {
            lock::route_says(cluster, namespace, &lock::names(key).1, ("Ready", "True", "")).await;
        }
        let forwards = [("mariadb", MARIADB), ("postgresql", POSTGRESQL)]
            .map(|(route, port)| Forward::Stream { port, route: (namespace.clone(), route.to_owned()) });
        let gateway = gateway::start(test, install::EDGE, &forwards).await;
        cluster.ready_pod(namespace, CLIENT).await;

        a_large_value_is_whole(test, &mariadb(&gateway.address, "shop"), "LONGTEXT").await;
        a_large_value_is_whole(test, &postgresql(&gateway.address), "TEXT").await;

        let address = cluster::address(&cluster.ready_pod(namespace, NAME).await);
        for direct in [mariadb(&address, "shop"), postgresql(&address)] {
            let answer = ask(test, &direct, "SELECT 1").await;
            assert!(answer.is_err(), "past the gateway, {direct:?}: {answer:?}");
        }
        logged(test, "PlaintextRefused", POSTGRESQL).await;
        // The key to one of them is none to the other, though both are one pod's.
        for (route, other) in [("mariadb", POSTGRESQL), ("postgresql", MARIADB)] {
            let key = key(test, route).await;
            let attack = Attack::https("the other's key", &address, other, Some(key));
            let made = attack::try_all(cluster, &[attack]).await.remove(0).made;
            assert!(attack::is_refusal(&made.outcome), "with the key to {route}: {:?}", made.outcome);
            logged(test, "NoRoute", other).await;
        }
        still_here(test, &gateway).await;
    });
}

/// Written and read.
async fn a_large_value_is_whole(test: &Test, client: &str, type_: &str) {
    // A Service leads to its new pod after a moment.
    wait::until("the database behind the gateway", 20, async || ask(test, client, "SELECT 1").await).await;
    for statement in
        [format!("CREATE TABLE t (big {type_})"), format!("INSERT INTO t VALUES (REPEAT('x', {LARGE}))")]
    {
        ask(test, client, &statement).await.unwrap_or_else(|error| panic!("{client} {statement}: {error}"));
    }
    let counted = ask(test, &format!("{client} 'SELECT big FROM t' | tr -d '\\n' | wc -c #"), "").await;
    assert_eq!(counted.expect("the value").trim(), LARGE.to_string());
}

async fn still_here(test: &Test, gateway: &Gateway) {
    for (client, version) in [
        (mariadb(&gateway.address, "shop"), "SELECT VERSION()"),
        (postgresql(&gateway.address), "SHOW server_version"),
    ] {
        let version = ask(test, &client, version).await.expect("its version");
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");
    }
}

/// The beginning of a command line, to which a statement belongs.
fn mariadb(host: &str, database: &str) -> String {
    format!(
        "mariadb --no-defaults --connect-timeout=5 --host={host} --port={MARIADB} --user=app \
         --password=app-password --skip-column-names --batch --max-allowed-packet=64M --database={database} --execute"
    )
}

fn postgresql(host: &str) -> String {
    format!(
        "PGPASSWORD=app-password PGCONNECT_TIMEOUT=5 /usr/lib/postgresql/*/bin/psql --host={host} \
         --port={POSTGRESQL} --username=app --dbname=postgres -At --command"
    )
}

/// What the client says to a statement.
async fn ask(test: &Test, client: &str, statement: &str) -> Result<String, String> {
    let line = format!("{client} \"$0\"");
    test.cluster.try_exec(&test.namespace, CLIENT, CLIENT, &["/bin/sh", "-c", &line, statement], None).await
}

async fn key(test: &Test, route: &str) -> Identity {
    let route = (test.namespace.clone(), route.to_owned());
    forge::stolen(&test.cluster, install::EDGE.1, &gateway::output_name(install::EDGE.0, &route)).await
}

/// Waits until the sidecar has logged a refusal for this reason on this port.
async fn logged(test: &Test, code: &str, port: u16) {
    wait::until(&format!("the sidecar to log {code} on port {port}"), 10, async || {
        let log = test.cluster.logs(&test.namespace, NAME, SIDECAR_CONTAINER).await;
        let found = logs::lines(&log).any(|line| line["code"] == code && line["port"] == port);
        found.then_some(()).ok_or(log)
    })
    .await;
}

fn container(name: &str, port: u16) -> Value {
    json!({
        "name": name, "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/sh", format!("/etc/databases/{name}.sh")],
        "ports": [{"name": name, "containerPort": port}],
        // Each look at its port is a broken connection to MariaDB, which refuses a host after a hundred.
        "startupProbe": {"tcpSocket": {"port": name}, "periodSeconds": 1, "failureThreshold": 90},
    })
}

fn pod(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": NAME, "labels": {"app": NAME}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [container("mariadb", MARIADB), container("postgresql", POSTGRESQL)],
        },
    })
}

fn client(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": CLIENT},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": CLIENT, "image": IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sleep", "600"],
            }],
        },
    })
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": NAME},
        "spec": {
            "selector": {"app": NAME},
            "ports": [
                {"name": "mysql", "port": MARIADB, "targetPort": "mariadb"},
                {"name": "postgresql", "port": POSTGRESQL, "targetPort": "postgresql"},
            ],
        },
    })
}
