//! The volumes of the injected containers, and where they are mounted.

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, ObjectFieldSelector,
    SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use postern_config::layout;

/// Readable by every user id: the sidecar is not root, and its group may not own the files, since the pod's
/// `fsGroup` is the application's affair. What keeps others out is that no other container may mount these
/// volumes (admission refuses it), and that on the node they lie below a directory of root's.
const READABLE: i32 = 0o444;

/// All four, for the lock `trust` of the pod's namespace.
pub fn all(trust: &str) -> [Volume; 4] {
    let config = Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(layout::secret_name(trust)),
            default_mode: Some(READABLE),
            ..SecretVolumeSource::default()
        }),
        ..named(layout::CONFIG_VOLUME)
    };
    let record = Volume {
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![
                told(layout::RECORD_FILE, format!("metadata.annotations['{}']", layout::RECORD_ANNOTATION)),
                told(layout::NAME_FILE, "metadata.name".to_owned()),
            ]),
            default_mode: Some(READABLE),
        }),
        ..named(layout::RECORD_VOLUME)
    };
    [config, record, memory(layout::STATE_VOLUME), memory(layout::NO_TOKEN_VOLUME)]
}

/// A field of the pod as a file.
fn told(path: &str, field_path: String) -> DownwardAPIVolumeFile {
    DownwardAPIVolumeFile {
        path: path.to_owned(),
        field_ref: Some(ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path }),
        ..DownwardAPIVolumeFile::default()
    }
}

/// Where the sidecar finds them. [`no_token_mount`] is among them.
pub fn sidecar_mounts() -> Vec<VolumeMount> {
    vec![
        mount(layout::CONFIG_VOLUME, layout::CONFIG_PATH, true),
        mount(layout::RECORD_VOLUME, layout::RECORD_PATH, true),
        mount(layout::STATE_VOLUME, layout::STATE_PATH, false),
        no_token_mount(),
    ]
}

/// An empty directory where a service account token would be. The API server mounts the token after the webhook
/// into each container that has nothing at that path.
pub fn no_token_mount() -> VolumeMount {
    mount(layout::NO_TOKEN_VOLUME, layout::NO_TOKEN_PATH, true)
}

/// In memory: one on the node's disk would keep the cluster autoscaler from removing the node.
fn memory(name: &str) -> Volume {
    Volume {
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity("1Mi".to_owned())),
        }),
        ..named(name)
    }
}

fn named(name: &str) -> Volume {
    Volume { name: name.to_owned(), ..Volume::default() }
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        // `false` is not stored, so it is left out here too.
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
