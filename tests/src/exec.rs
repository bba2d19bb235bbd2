//! Running a program in a pod, as `kubectl exec` does.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use serde::de::DeserializeOwned;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

use crate::cluster::Cluster;

/// A program that runs in a pod.
pub struct Running {
    process: AttachedProcess,
    stdin: Option<Box<dyn AsyncWrite + Unpin>>,
    stdout: BufReader<Box<dyn AsyncRead + Unpin>>,
}

impl Cluster {
    /// Runs a program to its end; `input` is one line.
    ///
    /// # Errors
    /// That it cannot be started, or how it failed, with what it wrote.
    pub async fn try_exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> Result<String, String> {
        self.start(namespace, pod, container, command, input).await?.end().await
    }

    /// Runs a program that must succeed and print JSON.
    pub async fn exec_json<T: DeserializeOwned>(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> T {
        let output = self
            .try_exec(namespace, pod, container, command, input)
            .await
            .unwrap_or_else(|error| panic!("in pod {namespace}/{pod}: {error}"));
        serde_json::from_str(&output)
            .unwrap_or_else(|error| panic!("{command:?} printed {output:?}: {error}"))
    }

    /// Starts a program and gives it a line of input.
    ///
    /// # Errors
    /// That it cannot be started.
    pub async fn start(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> Result<Running, String> {
        let api: Api<Pod> = self.api(namespace);
        let params = AttachParams::default()
            .container(container)
            .stdin(input.is_some())
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(1 << 20)
            .max_stdout_buf_size(1 << 20);
        let mut process =
            api.exec(pod, command.to_vec(), &params).await.map_err(|error| error.to_string())?;
        let stdin = process.stdin().map(|stdin| Box::new(stdin) as Box<dyn AsyncWrite + Unpin>);
        let stdout: Box<dyn AsyncRead + Unpin> = Box::new(process.stdout().expect("stdout is attached"));
        let mut running = Running { process, stdin, stdout: BufReader::new(stdout) };
        if let Some(line) = input {
            running.say(line).await?;
        }
        Ok(running)
    }
}

impl Running {
    /// Gives it one more line.
    ///
    /// # Errors
    /// That it is gone.
    pub async fn say(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().expect("it was started with input");
        stdin.write_all(format!("{line}\n").as_bytes()).await.map_err(|error| error.to_string())?;
        stdin.flush().await.map_err(|error| error.to_string())
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// That it has ended.
    pub async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line).await {
            Ok(0) => Err("the program ended".to_owned()),
            Ok(_) => Ok(line),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends its input and waits for its end; what it printed since.
    ///
    /// # Errors
    /// How it failed, with what it wrote.
    pub async fn end(mut self) -> Result<String, String> {
        drop(self.stdin.take());
        let mut stderr = self.process.stderr().expect("stderr is attached");
        let status = self.process.take_status().expect("taken only here");
        let (mut out, mut err) = (String::new(), String::new());
        let (read_out, read_err, status) =
            tokio::join!(self.stdout.read_to_string(&mut out), stderr.read_to_string(&mut err), status);
        read_out.and(read_err).map_err(|error| error.to_string())?;
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(out),
            Some(status) => Err(format!("{}: {out}{err}", status.message.unwrap_or_default())),
            None => Err(format!("the connection to the pod broke: {out}{err}")),
        }
    }
}
