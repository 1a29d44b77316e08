// Plays both Dialogflow and a web page: says which intent a sentence is, posts the turn, and hears what is said unasked.

const session = `projects/demo/agent/sessions/web-${random()}`;
const said = document.querySelector('#said');
const state = document.querySelector('#state');
const text = document.querySelector('#text');

/** What is kept of the conversation between two turns. */
let contexts = [];
/** The id of the last message that was heard unasked. */
let last = '';

function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Text goes in as text: what it holds is never HTML. */
function show(who, words, kind) {
  const line = document.createElement('li');
  const name = document.createElement('b');
  name.textContent = who;
  line.className = kind;
  line.append(name, words);
  said.append(line);
  line.scrollIntoView({ block: 'nearest' });
}

/** The intent of a sentence, and its parameters. */
function understand(words) {
  const number = words.match(/\d{3,}/)?.[0];
  if (/arriv|deliver/i.test(words)) return ['Order Status - arrival', number ? { order_number: number } : {}];
  if (number || /\border\b/i.test(words)) return ['Order Status', { order_number: number ?? '' }];
  if (/posted|notif|tell me/i.test(words)) return ['Notifications - on', { topic: 'orders' }];
  if (/^(hello|hi|hey)\b/i.test(words)) return ['Default Welcome Intent', {}];
  return ['Default Fallback Intent', {}];
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error?.message ?? `status ${answer.status}`);
  return json;
}

async function turn(words) {
  const [displayName, parameters] = understand(words);
  const reply = await post('/fulfillment', {
    responseId: random(),
    session,
    queryResult: { queryText: words, languageCode: 'en', intent: { displayName }, parameters, outputContexts: contexts },
  });
  contexts = reply.outputContexts ?? contexts;
  show('Bot', reply.fulfillmentText ?? '', 'bot');
}

/** Hears what is said in this session unasked, with a new token when one has expired. */
async function listen() {
  const { url } = await post('/stream-tokens', { session });
  const stream = new EventSource(`${url}${last && `&last_event_id=${last}`}`);
  stream.addEventListener('open', () => { state.textContent = 'Listening.'; });
  stream.addEventListener('message', ({ data, lastEventId }) => {
    last = lastEventId;
    show('Bot', JSON.parse(data).text, 'bot unasked');
  });
  stream.addEventListener('error', () => {
    state.textContent = 'Not listening; trying again.';
    if (stream.readyState === EventSource.CLOSED) setTimeout(again, 2000);
  });
}

function again() {
  listen().catch((error) => {
    state.textContent = `Not listening: ${error.message}`;
    setTimeout(again, 5000);
  });
}

document.querySelector('#turn').addEventListener('submit', (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words) return;
  text.value = '';
  show('You', words, 'user');
  turn(words).catch((error) => show('Bot', `(no answer: ${error.message})`, 'bot'));
});

again();
