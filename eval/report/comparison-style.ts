/** @file What a comparison adds to the look of a report: a wider page, switches of charts, pictures side by side, a link past the head. */
import { stylesheet } from './style.ts';
import { switchableStyle } from './switchable.ts';

export const comparisonStylesheet = `${stylesheet}
${switchableStyle}
main{max-width:1168px;overflow-wrap:anywhere}
table,.switchable{overflow-wrap:normal}
.skip{position:absolute;left:-9999px}
.skip:focus{left:16px;top:12px;padding:8px 14px;background:var(--panel);color:var(--ink);border-radius:6px;z-index:1}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.problems{margin:24px 0 0;padding:14px 18px 14px 36px;background:var(--panel);border-left:3px solid var(--warn);border-radius:0 6px 6px 0;font-size:15.5px;overflow-wrap:anywhere}
:root{--warn:#b3541e}
@media (prefers-color-scheme:dark){:root{--warn:#f29a5c}}
.status{margin:24px 0 0;padding:10px 16px;background:var(--panel);border-radius:6px;font-size:15.5px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
caption{caption-side:top;text-align:left;font-weight:620;padding:0 0 10px}
.wide+.note+.wide,.wide+.wide{margin-top:40px}
tbody th{text-align:left;font-weight:500}
.interval{display:block;color:var(--soft);font-size:13px;font-weight:400}
.best{font-weight:680}
thead th.number{white-space:normal;min-width:6.5em}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:36px 40px}
.charts figure{margin:0;min-width:0}
.switchable h3{margin:0 0 8px;font-size:16px;line-height:1.35;font-weight:620}
.switchable label{display:inline-block;margin:0 18px 0 6px;font-size:14.5px;color:var(--soft);cursor:pointer}
.switchable input{width:17px;height:17px;margin:0;vertical-align:-3px;accent-color:var(--accent);cursor:pointer}
.switchable .plot{margin:12px 0 0}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:28px 32px;align-items:start}
.pictures figure{margin:0;min-width:0}
.pictures img{width:100%;height:auto}
.runs details{margin:0}
.runs details+details{border-top:0}
.runs summary{font-size:17px}
.runs .body>h3{margin:28px 0 10px;font-size:16px;font-weight:620}
.runs .body{padding:0 0 28px}
.runs .body>*+*{margin-top:20px}
.runs .body>.note{margin-top:0}
footer{border-top:1px solid var(--rule);padding-top:20px;margin-top:64px}
@media (max-width:600px){.switchable .plot{overflow-x:auto}.switchable svg.chart{min-width:320px;font-size:14px}.charts{gap:36px}.switchable label{margin-right:12px}}
@media print{.skip,.switchable input,.switchable label,.status{display:none}.charts{grid-template-columns:1fr 1fr}
:root{--ground:#fff;--ink:#1c1f23;--soft:#5c646e;--rule:#dcdfe3;--panel:#f3f4f3;--accent:#0b63b0;color-scheme:light}html,body{background:#fff}
details::details-content{content-visibility:visible;block-size:auto}pre{white-space:pre-wrap}.wide{overflow:visible}body{font-size:10pt}.switchable h3{font-size:9pt}table{font-size:8pt}.problems{font-size:9pt}thead th,caption,.note,figcaption,.interval{font-size:7pt}th,td{padding:4px 7px 4px 0}thead th.number{min-width:0}th:first-child,td:first-child{min-width:5em}h2{margin-top:28px}section{break-inside:auto}tr,figure{break-inside:avoid}}
`.trim();
