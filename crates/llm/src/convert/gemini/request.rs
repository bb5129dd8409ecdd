use crate::convert::{model::Request, notes::Notes, read::Reader, write::Writer};

pub(in crate::convert) fn read_request<'a>(json: &mut Reader<'a>) -> Request<'a> {
    let _ = json;
    todo!()
}

pub(in crate::convert) fn write_request(
    request: &Request<'_>,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    let _ = (request, notes, to);
    todo!()
}
