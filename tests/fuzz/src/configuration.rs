//! The file of a sidecar without an operator, and the bundle of one with.

use postern_config::bundle::Bundle;
use postern_config::standalone::Standalone;

/// Whatever is read is read the same once more, and whatever is wrong has a message.
pub fn check(data: &[u8]) {
    if let Ok(bundle) = serde_json::from_slice::<Bundle>(data) {
        let written = serde_json::to_vec(&bundle).unwrap();
        assert_eq!(serde_json::from_slice::<Bundle>(&written).unwrap(), bundle);
        assert_eq!(bundle.content.hash().unwrap(), bundle.content.hash().unwrap());
    }
    if let Ok(written) = serde_yaml::from_slice::<Standalone>(data) {
        let text = serde_yaml::to_string(&written).unwrap();
        assert_eq!(serde_yaml::from_str::<Standalone>(&text).unwrap(), written, "{text}");
    }
}
