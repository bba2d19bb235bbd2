//! Certificates that somebody else made: of other authorities, and of callers with a name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::inspect::{sha256, timestamp};

/// The most certificates of one authority; the bundle must fit into a Secret beside all the rest.
const ROOTS: usize = 32;
/// The most bytes of a file that are looked at.
const BYTES: usize = 256 * 1024;

/// One certificate of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerCertificate {
    /// SHA-256 of it (DER), lower-case hex.
    pub sha256: String,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// The CA certificates in a PEM file, written anew: each once, in a fixed order, with nothing between them.
///
/// # Errors
/// What is wrong with the file, as the end of a sentence that begins with its place.
pub fn roots(file: &[u8], now: Timestamp) -> Result<String, String> {
    let mut found = Vec::new();
    for der in pem(file)? {
        let (rest, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| format!("has a certificate that can't be read ({error}): take it out"))?;
        let subject = printable(&certificate.subject().to_string());
        let is_ca = certificate.basic_constraints().ok().flatten().is_some_and(|basic| basic.value.ca);
        if !is_ca {
            return Err(format!(
                "has a certificate that is no authority's ({subject} has no CA:TRUE): take it out, or name it in an \
                 authority of type Pin"
            ));
        }
        // As the sidecar reads it, which would refuse its whole policy for one that it can't use.
        let anchor = RootCertStore::empty().add(CertificateDer::from(der.as_slice()));
        if anchor.is_err() || !rest.is_empty() {
            return Err(format!("has a certificate that can vouch for nobody ({subject}): take it out"));
        }
        let end = timestamp(certificate.validity().not_after).map_err(|error| error.to_string())?;
        found.push((end, subject, der));
    }
    let Some((end, subject, _)) = found.first() else {
        return Err(
            "has no certificate in PEM (BEGIN CERTIFICATE): write the CA certificates there".to_owned()
        );
    };
    if found.iter().all(|(end, ..)| *end <= now) {
        return Err(format!(
            "has only certificates that have ended ({subject} at {end}): write present ones"
        ));
    }
    if found.len() > ROOTS {
        return Err(format!(
            "has {} certificates, and {ROOTS} are the most: keep those that callers' certificates are from",
            found.len()
        ));
    }
    let mut ders: Vec<_> = found.into_iter().map(|(_, _, der)| der).collect();
    ders.sort();
    ders.dedup();
    Ok(ders.iter().map(|der| to_pem(der)).collect())
}

/// A caller's certificate: PEM (of a chain the first), or DER.
///
/// # Errors
/// As [`roots`].
pub fn certificate(file: &[u8]) -> Result<CallerCertificate, String> {
    let der = match pem(file)?.into_iter().next() {
        Some(der) => der,
        None if file.windows(11).any(|text| text == b"-----BEGIN ") => {
            return Err(
                "is PEM without a certificate (BEGIN CERTIFICATE): write the caller's certificate there"
                    .to_owned(),
            );
        }
        None => file.to_vec(),
    };
    let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| {
        "is neither PEM nor DER of a certificate (PKCS#7, PKCS#12 and JKS are not read): write the certificate alone in \
         one of those two forms, without its private key"
            .to_owned()
    })?;
    if !rest.is_empty() {
        return Err("has more behind the certificate: write the certificate alone".to_owned());
    }
    Ok(CallerCertificate {
        sha256: sha256(&der),
        not_after: timestamp(certificate.validity().not_after).map_err(|error| error.to_string())?,
    })
}

fn pem(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if file.len() > BYTES {
        return Err(format!(
            "has {} bytes, and {BYTES} are the most: write the certificates alone",
            file.len()
        ));
    }
    CertificateDer::pem_slice_iter(file)
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is no well-formed PEM ({error}): write it anew"))
}

/// What somebody else wrote, fit for a status: short, and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn made(ca: bool, ended: bool) -> (String, Vec<u8>) {
        let mut params = CertificateParams::new(vec!["x.example".to_owned()]).unwrap();
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if ended {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (certificate.pem(), certificate.der().to_vec())
    }

    #[test]
    fn a_bundle_holds_authorities_that_have_not_all_ended() {
        let now = Timestamp::now();
        let ((ca, der), (old, _), (leaf, _)) = (made(true, false), made(true, true), made(false, false));
        let text = format!("a comment\n{ca}\n{ca}{old}");
        let roots_of = |text: &str| roots(text.as_bytes(), now);
        let made = roots_of(&text).unwrap();
        assert_eq!(made.matches("BEGIN").count(), 2, "each once");
        let read: Vec<_> = pem(made.as_bytes()).unwrap();
        assert!(read.contains(&der), "it can be read again");
        assert_eq!(roots_of(&made).unwrap(), made, "a fixed form");
        for (case, text, expected) in [
            ("empty", String::new(), "no certificate in PEM"),
            (
                "a key",
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(),
                "no certificate",
            ),
            ("a leaf", format!("{ca}{leaf}"), "no CA:TRUE"),
            ("ended", old, "only certificates that have ended"),
            ("cut", ca[..200].to_owned(), "no well-formed PEM"),
            (
                "not one",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "can't be read",
            ),
        ] {
            let error = roots_of(&text).unwrap_err();
            assert!(error.contains(expected), "{case}: {error}");
        }
    }

    #[test]
    fn a_callers_certificate_is_the_first_of_a_chain_or_der() {
        let ((leaf, der), (ca, ca_der)) = (made(false, false), made(true, false));
        let sha = |file: &[u8]| certificate(file).map(|one| one.sha256);
        assert_eq!(sha(format!("{leaf}{ca}").as_bytes()), Ok(sha256(&der)));
        assert_eq!(sha(&ca_der), Ok(sha256(&ca_der)));
        let longer = [der, vec![0]].concat();
        let pkcs7 = b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n";
        for (file, expected) in [
            (&b"\xfe\xed\xfe\xed"[..], "neither PEM nor DER"),
            (&pkcs7[..], "PEM without a certificate"),
            (&longer[..], "more behind the certificate"),
        ] {
            assert!(sha(file).unwrap_err().contains(expected), "{expected}");
        }
    }
}
