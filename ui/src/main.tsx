import { render } from 'preact';
import { App } from './components/app.tsx';
import { startStore } from './state/store.ts';
import { startTheme } from './state/theme.ts';
import './styles/tokens.css';
import './styles/base.css';
import './styles/page.css';

startTheme();
startStore();
render(<App />, document.getElementById('app')!);
