"""The style of a report: both colour schemes, any width."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fbfbfa;--ink:#1c1e21;--dim:#5c636b;--line:#dcdfe3;--card:#fff;
--c0:#2563b0;--c1:#c2571a;--c2:#2e8b57;--c3:#b8860b;--c4:#8b3a9e;--c5:#1899a8;--c6:#b83262;--c7:#6b7280;
--better:#1d7d46;--worse:#b3261e;--even:#6b7280}
@media (prefers-color-scheme:dark){:root{--bg:#15171a;--ink:#e6e8ea;--dim:#9aa3ad;--line:#33383f;--card:#1c1f23;
--c0:#6ba6f0;--c1:#f0955a;--c2:#5cc98a;--c3:#e0b84a;--c4:#c98adb;--c5:#56cbd9;--c6:#ee7aa5;--c7:#a3abb5;
--better:#5cc98a;--worse:#f2857d;--even:#a3abb5}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 1rem}
h2{font-size:1.2rem;margin:0 0 .25rem}
p{max-width:46rem;margin:.25rem 0 1rem}
section>p{color:var(--dim)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.1rem;margin:1.2rem 0}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.875rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:600}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
@media (max-width:45rem){.first td{white-space:nowrap}}
details{margin:.6rem 0}
summary{cursor:pointer;font-weight:600}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:.2rem 0 1rem;padding:0;font-size:.875rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.plot{display:block;overflow:visible;font-size:13px}
.plot text{fill:var(--ink)}
.row{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;font-size:.875rem;margin-top:.5rem}
.figure{font-variant-numeric:tabular-nums;color:var(--dim)}
.plot .tick{fill:var(--dim);font-size:12px}
.framed{padding:1.6rem 1rem 0 2.8rem}
.grid{stroke:var(--line);stroke-width:1}
.one{stroke:var(--dim);stroke-width:1.5;stroke-dasharray:4 3}
.whisker{stroke-width:3;stroke-linecap:round}
line.better{stroke:var(--better)}line.worse{stroke:var(--worse)}line.even{stroke:var(--even)}
line.own{stroke:var(--c0)}circle.own{fill:var(--c0)}
circle.better{fill:var(--better)}circle.worse{fill:var(--worse)}circle.even{fill:var(--even)}
.stroke{stroke-width:2.5}
.peer0,.peer1{stroke-width:1.5;stroke-dasharray:6 3}.peer1{stroke-dasharray:2 3}
.stroke.thin{stroke-width:1;stroke-dasharray:none}
.hollow{fill:none}
""" + "".join(f".c{i}{{fill:var(--c{i})}}.s{i}{{stroke:var(--c{i})}}" for i in range(8))
