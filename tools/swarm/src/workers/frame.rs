//! Frames on the line between a leader and its workers: four bytes of length, little-endian, then JSON.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::FRAME_BYTES_MAX;

/// Writes one value.
pub(super) fn write(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other(format!("a frame of {} bytes is too long", json.len())))?;
    out.write_all(&[&length.to_le_bytes()[..], &json].concat())
}

/// Reads one value; `None` when the line ended before it.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut had = 0;
    while had < length.len() {
        match input.read(&mut length[had..]) {
            Ok(0) if had == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => had += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a swarm, or of another version"));
    }
    let mut json = vec![0; length as usize];
    input.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_values_when_written_then_they_are_read_back_and_the_end_of_the_line_is_told_from_a_cut() {
        let mut line = Vec::new();
        write(&mut line, &"one").expect("a short frame");
        write(&mut line, &(2, "two")).expect("a short frame");
        let mut input = line.as_slice();
        assert_eq!(read::<String>(&mut input).expect("a frame").as_deref(), Some("one"));
        assert_eq!(read::<(u32, String)>(&mut input).expect("a frame"), Some((2, "two".to_owned())));
        assert_eq!(read::<String>(&mut input).expect("the end"), None);
        for cut in 1..line.len() - 1 {
            let mut input = &line[..cut];
            let frames = std::iter::from_fn(|| read::<serde_json::Value>(&mut input).transpose());
            let ended_well = frames.map(|frame| frame.is_ok()).last();
            assert_eq!(ended_well, Some(cut == 9), "cut after {cut} bytes");
        }
    }

    #[test]
    fn given_something_else_than_frames_when_read_then_it_is_refused_before_it_takes_memory() {
        let error = read::<String>(&mut b"GET / HTTP/1.1\r\n\r\n".as_slice()).unwrap_err();
        assert!(error.to_string().contains("not a swarm"), "{error}");
        assert!(read::<String>(&mut b"\x03\0\0\0{]}".as_slice()).is_err());
        let too_long = "x".repeat(FRAME_BYTES_MAX as usize);
        assert!(write(&mut Vec::new(), &too_long).is_err());
    }
}
