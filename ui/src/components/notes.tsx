/** Plain words for when there is nothing to draw. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { ApiError } from '../api/client.ts';
import { knownServicesState, refresh, servicesState, state, update } from '../state/store.ts';
import { describeRange, widerRange } from '../state/time.ts';
import { AlertIcon, CheckIcon, CopyIcon, Mark } from './icons.tsx';

/** An error in the server's own words. */
export function ErrorNote({ error }: { error: Error }): JSX.Element {
  const status = error instanceof ApiError && error.status > 0 ? ` (${error.status}${error.code && ` ${error.code}`})` : '';
  const blamesLabels = error instanceof ApiError && error.status === 400 && state.value.labels !== '';
  return (
    <div class="note error-note" role="alert">
      <AlertIcon />
      <p>
        {error.message}
        <span class="muted error-status">{status}</span>
      </p>
      <div class="note-actions">
        {blamesLabels && (
          <button type="button" class="button primary" onClick={() => update({ labels: '' })}>
            Remove label filter
          </button>
        )}
        <button type="button" class="button" onClick={refresh}>
          Try again
        </button>
      </div>
    </div>
  );
}

/** Nothing matched the query in this time range. */
export function NoDataNote(): JSX.Element {
  const { from, to, labels, service } = state.value;
  const wider = widerRange({ from, to }, Date.now());
  return (
    <div class="note">
      <p>
        <strong>No profiles</strong> of {service === '' ? 'any service' : service} in this time range
        {labels !== '' && ' with these labels'}.
      </p>
      <div class="note-actions">
        {wider !== null && (
          <button type="button" class="button primary" onClick={() => update({ ...wider })}>
            Show {describeRange(wider).toLowerCase()}
          </button>
        )}
        {labels !== '' && (
          <button type="button" class="button" onClick={() => update({ labels: '' })}>
            Remove label filter
          </button>
        )}
      </div>
    </div>
  );
}

/** No service in the range: either none at all, or none recently. */
export function NoServiceNote(): JSX.Element {
  const known = knownServicesState.value;
  if (known.value === null) return <div class="note muted">Looking for services…</div>;
  if (known.value.length > 0) return <NoDataNote />;
  return <Onboarding />;
}

interface Snippet {
  name: string;
  install: string;
  code: (server: string) => string;
}

const SNIPPETS: readonly Snippet[] = [
  {
    name: 'Python',
    install: 'pip install pyroscope-io',
    code: (server) => `import pyroscope

pyroscope.configure(application_name="my-service", server_address="${server}")`,
  },
  {
    name: 'Go',
    install: 'go get github.com/grafana/pyroscope-go',
    code: (server) => `import "github.com/grafana/pyroscope-go"

pyroscope.Start(pyroscope.Config{ApplicationName: "my-service", ServerAddress: "${server}"})`,
  },
  {
    name: 'Java',
    install: 'pyroscope.jar from the pyroscope-java releases',
    code: (server) => `export PYROSCOPE_APPLICATION_NAME=my-service
export PYROSCOPE_SERVER_ADDRESS=${server}
java -javaagent:pyroscope.jar -jar my-service.jar`,
  },
  {
    name: 'Node.js',
    install: 'npm install @pyroscope/nodejs',
    code: (server) => `const Pyroscope = require('@pyroscope/nodejs');
Pyroscope.init({ appName: 'my-service', serverAddress: '${server}' });
Pyroscope.start();`,
  },
  {
    name: 'Rust',
    install: 'cargo add pyroscope --features backend-pprof-rs',
    code: (server) => `use pyroscope::{backend::{pprof_backend, BackendConfig, PprofConfig}, pyroscope::PyroscopeAgentBuilder};
let backend = pprof_backend(PprofConfig::default(), BackendConfig::default());
let agent = PyroscopeAgentBuilder::new("${server}", "my-service", 100, "pyroscope-rs", "1", backend).build()?.start()?;`,
  },
  {
    name: 'curl',
    install: 'nothing to install: folded stacks as text',
    code: (server) => `echo 'main;handle;parse 70
main;handle;render 30' |
  curl --data-binary @- '${server}/ingest?name=my-service.cpu&format=groups'`,
  },
];

/** How often a page without services looks for one. */
const ONBOARDING_REFRESH_MS = 3000;

const chosenSnippet = signal(0);
const copied = signal(false);

function Onboarding(): JSX.Element {
  const server = new URL('.', document.baseURI).href.replace(/\/$/, '');
  const snippet = SNIPPETS[chosenSnippet.value];
  const code = snippet.code(server);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || servicesState.peek().loading || refresh(), ONBOARDING_REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <div class="onboarding">
      <Mark />
      <h2>Send the first profile</h2>
      <p class="muted">
        Argand speaks the Pyroscope protocol: any Pyroscope SDK works with this server’s address, <code>{server}</code>.
      </p>
      <div class="tabs" role="group" aria-label="Language">
        {SNIPPETS.map((candidate, i) => (
          <button
            key={candidate.name}
            type="button"
            class="tab"
            aria-pressed={i === chosenSnippet.value}
            onClick={() => (chosenSnippet.value = i)}
          >
            {candidate.name}
          </button>
        ))}
      </div>
      <div class="snippet">
        <p class="snippet-install">
          <code>{snippet.install}</code>
        </p>
        <pre tabIndex={0} aria-label={`${snippet.name} example`}>
          <code>{code}</code>
        </pre>
        <CopyButton text={code} />
      </div>
      <p class="waiting muted" role="status">
        Waiting for the first profile. This page shows it as soon as it is there.
      </p>
    </div>
  );
}

function CopyButton({ text }: { text: string }): JSX.Element {
  const copy = async () => {
    await copyText(text);
    copied.value = true;
    setTimeout(() => (copied.value = false), 1500);
  };
  return (
    <button type="button" class="button copy-button" onClick={copy}>
      {copied.value ? <CheckIcon /> : <CopyIcon />}
      <span aria-live="polite">{copied.value ? 'Copied' : 'Copy'}</span>
    </button>
  );
}

/** Copies text; falls back to a selection where the clipboard interface is not available (plain HTTP). */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    try {
      return await navigator.clipboard.writeText(text);
    } catch {
      // Not allowed: fall through to the older way.
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'visually-hidden';
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}
