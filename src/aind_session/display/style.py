"""How it looks in a notebook: one small sheet, readable in light and dark."""

from __future__ import annotations

# Background and text are always set by the same rule, so that one never meets the other's theme:
# JupyterLab's and VS Code's own colours where they are defined, else what the page or the system
# says of itself.
STYLE = """<style>
.aind-session{--aind-light-bg:#fff;--aind-light-fg:#1f2328;
--aind-dark-bg:#1c1f24;--aind-dark-fg:#dfe3e8;
--aind-bg:var(--jp-layout-color1,var(--vscode-editor-background,var(--aind-light-bg)));
--aind-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--aind-light-fg)))}
@media (prefers-color-scheme:dark){.aind-session{
--aind-bg:var(--jp-layout-color1,var(--vscode-editor-background,var(--aind-dark-bg)));
--aind-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--aind-dark-fg)))}}
html[data-theme=dark] .aind-session,body[data-theme=dark] .aind-session,
html[theme=dark] .aind-session{--aind-bg:var(--aind-dark-bg);--aind-fg:var(--aind-dark-fg)}
html[data-theme=light] .aind-session,body[data-theme=light] .aind-session,
html[theme=light] .aind-session{--aind-bg:var(--aind-light-bg);--aind-fg:var(--aind-light-fg)}
.aind-session{background:var(--aind-bg);color:var(--aind-fg);border:1px solid rgba(128,128,128,.4);
border-radius:6px;padding:.6em .9em;margin:.3em 0;display:inline-block;max-width:100%;
overflow-x:auto;font-size:13px;line-height:1.45;text-align:left;box-sizing:border-box}
.aind-session .aind-kind{opacity:.7;margin-right:.5em}
.aind-session .aind-hint{opacity:.7;margin-top:.4em}
.aind-session table{border-collapse:collapse;margin:.4em 0 0;border:0;font-size:inherit;
color:inherit;background:none;width:auto;display:table}
.aind-session th,.aind-session td{text-align:left;vertical-align:baseline;
padding:.12em .9em .12em 0;border:0;background:none;color:inherit;
font-size:inherit;white-space:normal;max-width:none}
.aind-session th{font-weight:600;opacity:.75}
.aind-session thead th{border-bottom:1px solid rgba(128,128,128,.4)}
.aind-session tr,.aind-session tr:hover,.aind-session tr:nth-child(even){background:none}
.aind-session .aind-name{font-family:var(--jp-code-font-family,ui-monospace,monospace);
font-size:.95em;overflow-wrap:anywhere}
.aind-session thead+tbody .aind-name{white-space:nowrap}
.aind-session .aind-number{text-align:right}
.aind-session summary{cursor:pointer;margin-top:.4em}
</style>"""
