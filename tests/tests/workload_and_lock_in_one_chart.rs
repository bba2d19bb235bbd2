//! A chart that brings the workload, its lock and its key at once ends guarded, whatever comes first.

use postern_tests::scene::{NAME, Scene};
use postern_tests::workload::Echo;
use postern_tests::{Sharing, install, lock, run};

#[test]
fn ends_guarded() {
    run(Sharing::Shared, async |test| {
        let chart = install::repository().join("tests/manifests/one-chart");
        let chart = chart.to_string_lossy();
        let release = ["upgrade", "--install", NAME, &chart, "--namespace", &test.namespace];
        install::helm(&release).await.unwrap_or_else(|error| panic!("{error}"));
        lock::trust_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        lock::route_says(&test.cluster, &test.namespace, NAME, ("Ready", "True", "")).await;
        let echo = Echo::new(&test.namespace, NAME);
        let target = echo.target(&test.cluster).await;
        let scene = Scene { echo, target };
        let gateway = scene.gateway(test).await;
        scene.works(test, &gateway).await;
        // Upgrading the chart does not undo what Postern did to the Deployment.
        let pod = scene.target.pod.clone();
        install::helm(&release).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scene.echo.target(&test.cluster).await.pod, pod, "the pod is not replaced");
        scene.works(test, &gateway).await;
    });
}
