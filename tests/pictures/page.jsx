// One board, drawn with Grafana's own components from a Prometheus: ?prom=URL&board=URL&from=S&to=S&theme=dark&var-job=….
// Time lines and heat maps are no part of @grafana/ui; they are drawn here as Grafana draws them, and no more than that.
import React from 'react';
import {createRoot} from 'react-dom/client';
// Required, not imported: Grafana's .mjs files import CommonJS packages as Node would, and get an object for a component.
const {
  createDataFrame, createTheme, dateTime, EventBusSrv, FieldType, formattedValueToString, getDisplayProcessor, getValueFormat,
  ReducerID, reduceField, ThemeContext,
} = require('@grafana/data');
const {BarGauge, BigValue, GlobalStyles, PanelChrome, PanelContextProvider, Table, TimeSeries} = require('@grafana/ui');
import 'uplot/dist/uPlot.min.css';

const ask = new URLSearchParams(location.search);
const theme = createTheme({colors: {mode: ask.get('theme') || 'dark'}});
const [FROM, TO] = [Number(ask.get('from')), Number(ask.get('to'))];
const STEP = Math.max(1, Math.round((TO - FROM) / 300));
const RATE_SECONDS = Math.max(8, 4 * STEP);
const [WIDTH, COLUMN, LINE, GAP] = [1440, 1440 / 24, 38, 8];
const errors = [];

const chosen = name => ask.get(`var-${name}`) || '.+';
// The usual is the mean of an hour at a point a minute, of which a recording has but a few.
const fill = text => text.replaceAll('[1h:1m]', '[1h:10s]').replaceAll('$__rate_interval', `${RATE_SECONDS}s`).replaceAll('$__range', `${Math.round(TO - FROM)}s`)
  .replace(/\$\{?(\w+)\}?/g, (_, name) => chosen(name));

async function get(path, parameters) {
  const answer = await (await fetch(`${ask.get('prom')}/api/v1/${path}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== 'success') throw new Error(answer.error);
  return answer.data.result;
}

const asked = target => target.instant
  ? get('query', {query: fill(target.expr), time: TO})
  : get('query_range', {query: fill(target.expr), start: FROM, end: TO, step: STEP});

const named = (target, metric) => (target.legendFormat || '__auto') === '__auto'
  ? JSON.stringify(metric) : target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] || '');

// A graph has a point at every step, so that what is missing is a gap.
function frameOf(target, series) {
  const times = target.instant ? [TO] : Array.from({length: Math.floor((TO - FROM) / STEP) + 1}, (_, n) => FROM + n * STEP);
  const found = new Map((series.values || [series.value]).map(([time, value]) => [Math.round(time), Number(value)]));
  const values = times.map(time => found.get(Math.round(time)) ?? null)
    .map(value => target.instant || Number.isFinite(value) ? value : null);
  const name = named(target, series.metric);
  return createDataFrame({refId: target.refId, name, fields: [
    {name: 'Time', type: FieldType.time, values: times.map(time => time * 1000), config: {}},
    {name, type: FieldType.number, labels: series.metric, values, config: {displayNameFromDS: name}},
  ]});
}

// What Grafana's transformations "merge" and "organize" make of tables.
function tableOf(panel, results) {
  const lines = new Map();
  const columns = [];
  const given = results.filter(series => series.length).map(series => Object.keys(series[0].metric));
  const common = (given[0] || []).filter(label => given.every(labels => labels.includes(label))).sort();
  panel.targets.forEach((target, n) => results[n].forEach(({metric, value}) => {
    const key = JSON.stringify(common.map(label => metric[label]));
    const line = {...lines.get(key), ...metric};
    line[panel.targets.length > 1 ? `Value #${target.refId}` : 'Value'] = Number(value[1]);
    lines.set(key, line);
    Object.keys(line).forEach(column => columns.includes(column) || columns.push(column));
  }));
  const renamed = panel.transformations?.find(({id}) => id === 'organize')?.options?.renameByName || {};
  const sorted = [...lines.values()].sort((a, b) => (panel.options?.sortBy || []).reduce((found, {displayName, desc}) => {
    const column = Object.keys(renamed).find(name => renamed[name] === displayName);
    return found || (desc ? -1 : 1) * ((a[column] ?? 0) - (b[column] ?? 0));
  }, 0));
  const {excludeByName = {}, renameByName = {}, indexByName = {}} = panel.transformations?.find(({id}) => id === 'organize')?.options || {};
  const isValue = column => column.startsWith('Value');
  const place = column => indexByName[column] ?? (isValue(column) ? 1000 : 500) + columns.indexOf(column);
  const shown = columns.toSorted((a, b) => place(a) - place(b)).filter(c => !excludeByName[c] && !excludeByName[renameByName[c]]);
  return createDataFrame({fields: shown.map(column => ({
    name: renameByName[column] || column,
    type: isValue(column) ? FieldType.number : FieldType.string,
    values: sorted.map(line => line[column] ?? null),
    config: {},
  }))});
}

const GRAPH = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false,
  showPoints: 'never', pointSize: 5, axisPlacement: 'auto', axisColorMode: 'text', axisLabel: '', barAlignment: 0,
  scaleDistribution: {type: 'linear'}, hideFrom: {legend: false, tooltip: false, viz: false}, axisGridShow: true,
  stacking: {group: 'A', mode: 'none'}, thresholdsStyle: {mode: 'off'}, axisCenteredZero: false, axisBorderShow: false,
};

const finite = thresholds => thresholds && {...thresholds, steps: thresholds.steps.map(s => ({...s, value: s.value ?? -Infinity}))};

function configured(panel, frames) {
  const {defaults = {}, overrides = []} = panel.fieldConfig || {};
  frames.forEach((frame, index) => frame.fields.forEach((field, place) => {
    const base = field.type === FieldType.number ? defaults : {};
    const config = {...base, ...field.config, custom: {...(panel.type === 'timeseries' ? GRAPH : {}), ...(base.custom || {})}};
    if (panel.type === 'timeseries' && !config.color) config.color = {mode: 'palette-classic'};
    for (const {matcher, properties} of overrides) {
      const {options} = matcher;
      if (matcher.id === 'byRegexp' ? !new RegExp(options.slice(1, -1)).test(field.name) : options !== field.name) continue;
      for (const {id, value} of properties) {
        if (id.startsWith('custom.')) config.custom[id.slice(7)] = value; else config[id] = value;
      }
    }
    config.thresholds = finite(config.thresholds);
    delete config.links;
    field.config = config;
    field.state = {...field.state, seriesIndex: panel.type === 'table' ? place : index};
    field.display = getDisplayProcessor({field, theme, timeZone: 'utc'});
  }));
  return frames;
}

const RANGE = {from: dateTime(FROM * 1000), to: dateTime(TO * 1000), raw: {from: 'now-5m', to: 'now'}};
const clock = seconds => new Date(seconds * 1000).toISOString().slice(11, 16);

function TimeAxis({left, width, top}) {
  const marks = Array.from({length: 6}, (_, n) => FROM + (n + 0.5) * (TO - FROM) / 6);
  return marks.map(mark => <text key={mark} x={left + (mark - FROM) / (TO - FROM) * width} y={top} fontSize="12" textAnchor="middle"
    fill={theme.colors.text.secondary}>{clock(mark)}</text>);
}

function StateTimeline({panel, data, width, height}) {
  const shown = data.filter(frame => frame.fields[1].values.some(value => value !== null));
  const left = Math.min(260, 16 + 7 * Math.max(8, ...shown.map(frame => frame.name.length)));
  const steps = panel.fieldConfig.defaults.thresholds.steps;
  const right = width - left - 8, each = (height - 44) / Math.max(1, shown.length), times = shown[0]?.fields[0].values || [];
  const unit = panel.fieldConfig.defaults.unit;
  return <svg width={width} height={height}>
    {shown.map((frame, row) => <g key={row}>
      <text x={left - 8} y={(row + 0.5) * each + 4} fontSize="12" textAnchor="end" fill={theme.colors.text.primary}>{frame.name}</text>
      {frame.fields[1].values.map((value, n) => value === null ? null : <rect key={n} y={row * each + each * 0.08} height={each * 0.84}
        x={left + n / times.length * right} width={right / times.length + 0.6} opacity="0.75"
        fill={theme.visualization.getColorByName(colorAt(panel, value))}/>)}
    </g>)}
    <TimeAxis left={left} width={right} top={height - 30}/>
    {steps.map((step, n) => <g key={n} transform={`translate(${left + n * 90}, ${height - 16})`}>
      <rect width="14" height="4" y="4" fill={theme.visualization.getColorByName(step.color)}/>
      <text x="20" y="10" fontSize="12" fill={theme.colors.text.primary}>{unit.startsWith('bool') ? (step.value ? 'Yes' : 'No')
        : (n ? '' : '< ') + formattedValueToString(getValueFormat(unit)(n ? step.value : steps[1]?.value ?? 0)) + (n ? '+' : '')}</text>
    </g>)}
  </svg>;
}

const colorAt = (panel, value) =>
  finite(panel.fieldConfig.defaults.thresholds).steps.filter(step => value >= step.value).at(-1).color;

// Buckets come cumulated; Grafana takes each from the next before it draws them.
function Heatmap({panel, data, width, height}) {
  const rows = data.map(frame => ({le: frame.name === '+Inf' ? Infinity : Number(frame.name), values: frame.fields[1].values})).sort((a, b) => a.le - b.le);
  const cells = rows.map((row, n) => ({le: row.le, values: row.values.map((v, t) => Math.max(0, v - (n ? rows[n - 1].values[t] : 0)))}));
  const used = cells.filter(row => row.values.some(value => value > 0.01));
  const shown = cells.slice(cells.indexOf(used[0]), cells.indexOf(used.at(-1)) + 1);
  const most = Math.max(...shown.flatMap(row => row.values));
  const left = 62, right = width - left - 8, each = (height - 30) / shown.length;
  const format = getValueFormat(panel.fieldConfig.defaults.unit);
  return <svg width={width} height={height}>
    {shown.map((row, n) => <g key={row.le}>
      {(shown.length - 1 - n) % 2 ? null : <text x={left - 6} y={height - 26 - (n + 0.35) * each} fontSize="11" textAnchor="end"
        fill={theme.colors.text.secondary}>{row.le === Infinity ? '∞' : formattedValueToString(format(row.le))}</text>}
      {row.values.map((value, t) => value < 0.01 ? null : <rect key={t} x={left + t / row.values.length * right}
        width={right / row.values.length + 0.4} y={height - 30 - (n + 1) * each} height={each - 1} fill="#ff9830"
        opacity={0.15 + 0.85 * (value / most) ** 0.4}/>)}
    </g>)}
    <TimeAxis left={left} width={right} top={height - 10}/>
  </svg>;
}

// The values that Grafana puts into a legend.
function withCalcs(panel, frames) {
  const calcs = panel.options?.legend?.calcs || [];
  for (const frame of frames) {
    const field = frame.fields[1];
    field.state.calcs = undefined;
    field.config.displayName = field.config.displayName || field.name;
    field.display = getDisplayProcessor({field, theme, timeZone: 'utc'});
  }
  return {...(panel.options?.legend || {}), calcs};
}

function Content({panel, data, width, height}) {
  if (!data.length || !data.some(frame => frame.fields.length > 1)) {
    return <div style={{color: theme.colors.text.secondary, textAlign: 'center', paddingTop: height / 2 - 10}}>No data</div>;
  }
  if (panel.type === 'timeseries') {
    return <TimeSeries frames={data} structureRev={1} width={width} height={height} timeRange={RANGE} timeZone="utc"
      legend={withCalcs(panel, data)} options={panel.options || {}}/>;
  }
  if (panel.type === 'stat') {
    const field = data[0].fields[1];
    const value = reduceField({field, reducers: [ReducerID.lastNotNull]})[ReducerID.lastNotNull];
    return <BigValue theme={theme} width={width} height={height} value={field.display(value)} colorMode="value" graphMode="none"/>;
  }
  if (panel.type === 'bargauge') {
    const each = Math.min(height / data.length, 84);
    return <div style={{paddingTop: (height - each * data.length) / 2}}>{data.map((frame, n) => <BarGauge key={n} theme={theme} width={width}
      height={each - 4} orientation="horizontal" text={{titleSize: 16, valueSize: 28}}
      displayMode="gradient" value={{...frame.fields[1].display(frame.fields[1].values.at(-1)), title: frame.name}}
      field={frame.fields[1].config} display={frame.fields[1].display}/>)}</div>;
  }
  if (panel.type === 'state-timeline') return <StateTimeline {...{panel, data, width, height}}/>;
  if (panel.type === 'heatmap') return <Heatmap {...{panel, data, width, height}}/>;
  return <Table data={data[0]} width={width} height={height} columnMinWidth={panel.fieldConfig.defaults.custom?.minWidth}/>;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { errors.push(String(error)); return {error}; }
  render() { return this.state.error ? <pre style={{color: 'red'}}>{String(this.state.error.stack).slice(0, 800)}</pre> : this.props.children; }
}

// The moments at which an annotation begins, as dashed lines over a graph of time.
async function marksOf(board) {
  const lists = await Promise.all(board.annotations.list.filter(({name}) => name === 'Exhaustions').map(async annotation => {
    const series = await get('query_range', {query: fill(annotation.target.expr), start: FROM, end: TO, step: STEP});
    return series.map(({metric, values}) => ({time: Number(values[0][0]), name: metric.verdict || annotation.name}));
  }));
  return lists.flat();
}

function Marks({marks, panel, children}) {
  const frame = React.useRef(null);
  React.useEffect(() => {
    if (panel.type !== 'timeseries' || panel.gridPos.w < 12) return;
    setTimeout(() => marks.forEach(({time}) => {
      const line = document.createElement('div');
      const [left, color] = [100 * (time - FROM) / (TO - FROM), theme.visualization.getColorByName('orange')];
      line.style.cssText = `position: absolute; top: 0; bottom: 0; left: ${left}%; border-left: 1px dashed ${color}`;
      frame.current.querySelector('.u-over')?.append(line);
    }), 1000);
  }, []);
  return <div ref={frame}>{children}</div>;
}

function Panel({panel, data, marks}) {
  const style = {position: 'absolute', left: GAP + panel.gridPos.x * COLUMN, top: 64 + panel.gridPos.y * LINE};
  if (panel.type === 'row') return <div style={{...style, color: theme.colors.text.primary, padding: '9px 4px', fontWeight: 500}}>⌄ {panel.title}</div>;
  return <div style={style}><PanelChrome title={panel.title} description={panel.description} padding={panel.type === 'table' ? 'none' : 'md'}
    width={panel.gridPos.w * COLUMN - GAP} height={panel.gridPos.h * LINE - GAP}>
    {(width, height) => <Guard><Marks {...{marks, panel}}><Content {...{panel, data, width, height}}/></Marks></Guard>}
  </PanelChrome></div>;
}

function Head({board}) {
  const chip = {background: theme.colors.background.secondary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: 2, padding: '4px 8px', marginRight: 8};
  return <div style={{position: 'absolute', left: GAP, top: 10, width: WIDTH - GAP, color: theme.colors.text.primary, display: 'flex', alignItems: 'center'}}>
    <span style={{fontSize: 20, fontWeight: 500, marginRight: 24}}>{board.title}</span>
    {board.templating.list.filter(v => v.type === 'query').map(v => <span key={v.name} style={chip}>
      <span style={{color: theme.colors.text.secondary}}>{v.label}&nbsp; </span>{ask.get(`var-${v.name}`) || 'All'}</span>)}
  </div>;
}

async function main() {
  const board = await (await fetch(ask.get('board'))).json();
  const marks = await marksOf(board);
  const items = await Promise.all(board.panels.map(async panel => {
    try {
      const results = await Promise.all((panel.targets || []).map(asked));
      const frames = panel.type === 'table' ? [tableOf(panel, results)]
        : results.flatMap((series, n) => series.map(one => frameOf(panel.targets[n], one)));
      return [panel, configured(panel, frames)];
    } catch (error) {
      errors.push(`${panel.title}: ${error}`);
      return [panel, []];
    }
  }));
  window.__empty = items.filter(([panel, data]) => panel.type !== 'row' && !data.some(f => f.length)).map(([panel]) => panel.title);
  const height = 64 + Math.max(...board.panels.map(({gridPos}) => gridPos.y + gridPos.h)) * LINE + GAP;
  window.__height = height;
  createRoot(document.getElementById('root')).render(<ThemeContext.Provider value={theme}><GlobalStyles/>
    <PanelContextProvider value={{eventsScope: 'page', eventBus: new EventBusSrv()}}>
      <div style={{position: 'relative', background: theme.colors.background.canvas, width: WIDTH + GAP, height}}>
        <Head board={board}/>
        {items.map(([panel, data]) => <Panel key={panel.id} panel={panel} data={data} marks={marks}/>)}
      </div>
    </PanelContextProvider></ThemeContext.Provider>);
  setTimeout(() => { window.__errors = errors; window.__done = true; }, 2000);
}

main().catch(error => { document.getElementById('root').innerText = error.stack; window.__errors = [String(error)]; window.__done = true; });
