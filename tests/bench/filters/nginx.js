// The filters of the bench for nginx: `js_filter bench.empty` and `js_filter bench.bytes`. Who has a handler for data
// must pass it on. `upstream` and `downstream` give buffers, which are read for less than the strings of `upload` and
// `download`.

function empty(session) {
    session.on('upstream', function (data, flags) { session.send(data, flags); });
    session.on('downstream', function (data, flags) { session.send(data, flags); });
}

let sum = 0; // kept, so that the reads are needed

function read(data) {
    if (data.length >= 10) {
        sum = data[0] + data[1] + data[2] + data[3] + data[4]
            + data[5] + data[6] + data[7] + data[8] + data[9];
    }
}

function bytes(session) {
    session.on('upstream', function (data, flags) { read(data); session.send(data, flags); });
    session.on('downstream', function (data, flags) { read(data); session.send(data, flags); });
}

export default {empty, bytes};
