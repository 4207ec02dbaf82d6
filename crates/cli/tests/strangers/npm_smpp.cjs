// A carrier made of the npm package `smpp`, moved by strings: what it is sent it tells on standard output, and what
// it does is asked for on standard input, one JSON object a line. All decisions are the test's; all octets, and the
// reading of texts and headers, are the library's. It ends when its standard input ends.
//
// Run as: node npm_smpp.cjs <directory that has node_modules/smpp>
'use strict';

const path = require('node:path');
const readline = require('node:readline');

const place = path.resolve(process.argv[2]);
const found = (name) => require(require.resolve(name, { paths: [place] }));
const smpp = found('smpp');

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

const sessions = new Map();
let last = 0;

const server = smpp.createServer((session) => {
  const number = ++last;
  const submits = new Map();
  sessions.set(number, { session, submits });

  session.on('bind_transceiver', (pdu) => {
    if (pdu.password !== 'secret') {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      session.close();
      return;
    }
    session.send(pdu.response({ system_id: 'npm-smpp' }));
    tell({ is: 'bound', session: number });
  });
  session.on('submit_sm', (pdu) => {
    submits.set(pdu.sequence_number, pdu);
    const { udh, message } = pdu.short_message;
    tell({
      is: 'submit',
      session: number,
      number: pdu.sequence_number,
      source: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      destination: [pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr],
      data_coding: pdu.data_coding,
      registered_delivery: pdu.registered_delivery,
      // The library gives the header's elements, without the octet that says how long they are together.
      header: udh ? Array.from(Buffer.concat(udh)) : [],
      text: message,
    });
  });
  session.on('pdu', (pdu) => {
    if (pdu.command_status !== 0 && ['generic_nack', 'deliver_sm_resp'].includes(pdu.command)) {
      const { command_id: command, sequence_number: sequence, command_status: status } = pdu;
      tell({ is: 'refused', session: number, command, sequence, status });
    }
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on('error', () => session.destroy());
  session.on('close', () => {
    sessions.delete(number);
    tell({ is: 'closed', session: number });
  });
});

const acts = {
  answer({ session, submits }, { number, status, id }) {
    const pdu = submits.get(number);
    submits.delete(number);
    session.send(pdu.response(status === 0 ? { message_id: id } : { command_status: status }));
  },
  deliver({ session }, { session: number, tag, source, destination, text }) {
    const pdu = {
      source_addr_ton: 1,
      source_addr_npi: 1,
      source_addr: source,
      destination_addr: destination,
      esm_class: 4,
      short_message: text,
    };
    session.deliver_sm(pdu, (response) =>
      tell({ is: 'acknowledged', session: number, tag, status: response.command_status }));
  },
  raw({ session }, { octets }) {
    session.socket.write(Buffer.from(octets));
  },
  close({ session }) {
    session.destroy();
  },
};

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const wish = JSON.parse(line);
    const one = sessions.get(wish.session);
    if (one) acts[wish.do](one, wish);
  })
  .on('close', () => process.exit(0));

server.listen(0, '127.0.0.1', () =>
  tell({ is: 'listening', port: server.address().port, version: found('smpp/package.json').version }));
