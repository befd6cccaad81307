// What the page says, in both languages. A text may have {places}.
const TEXTS = {
  en: {
    previous: "← nearer the loss", next: "further from it →", find: "Step", run: "Run", theme: "Theme",
    language: "Language", auto: "as the system", light: "light", dark: "dark", this: "this run",
    other: "other run", difference: "other − this", step: "Step {number} (0 to {last})",
    position: "{number} of 0…{last}", forward: "Forward", backward: "Backward", into: "What goes in",
    out: "What comes out", down: "The gradient that arrives", up: "The gradients that it passes on",
    from_step: "from step {number}", leaf: "leaf",
    numbers: "The numbers put in", check: "Check", passed: "passes", failed: "FAILS", skipped: "not checked",
    saved: "Kept for backward", nothing_saved: "nothing", code: "Code", line: "Your line",
    summed: "Here the gradients of {count} paths are added up:", one_path: "(by one of {count} paths)",
    input: "input", output: "output", channel: "Picture",
    all_channels: "norm over channels", shown: "drawn: one row and column in {stride}",
    trail: "Followed: {name}", stop: "Stop following", value: "Its value is {value}. ", mean_value: "Their mean is {value}. ", gradient: "gradient",
    part: "part of its gradient that passes", sources: "from step", through: "most of it through (change of y for 1 · ∂L/∂y)",
    parts: "Raised by h, the number changes an entry y of a later output by some multiple of h, and that the loss. All entries of an output together make the part that passes there; where ways part, the parts of all ways add up. In the graph the steps are outlined through which at least a tenth passes.",
    no_parts: "How much of its gradient passes through each step was not worked out: that is done for one number, chosen when the page is made (nnmed explain --pixel ROW,COLUMN).",
    follow: "Follow {place} to the loss", together: "“:” stands for all, which are raised together. ",
    region: "Where it can reach, at most", whole: "anywhere", norm: "norm", mean: "mean", zeros: "zeros",
    smallest: "min", largest: "max", not_kept: "not known", graph: "Graph of the computation",
    zoom_in: "Zoom in", zoom_out: "Zoom out", zoom_all: "Show all",
    hint: "Click a pixel or a weight to follow it through the chain. Arrow keys go from step to step.",
    effect: "Its gradient is {gradient}: raise it by a little h, and the loss changes by {gradient} h.",
  },
  zh: {
    previous: "← 靠近损失", next: "远离损失 →", find: "步骤", run: "运行", theme: "主题", language: "语言",
    auto: "跟随系统", light: "浅色", dark: "深色", this: "本次运行", other: "另一次运行", difference: "另一次 − 本次",
    step: "第 {number} 步（0 至 {last}）", position: "{number}（0…{last}）", forward: "前向", backward: "反向",
    into: "输入", out: "输出", down: "传入的梯度", up: "传出的梯度",
    from_step: "来自第 {number} 步", leaf: "叶子", numbers: "代入数值", check: "检验", passed: "通过",
    failed: "未通过", skipped: "未检验", saved: "为反向保留", nothing_saved: "无", code: "代码",
    line: "你的代码行", summed: "此处把 {count} 条路径的梯度相加：", one_path: "（{count} 条路径之一）", input: "输入", output: "输出", channel: "图像",
    all_channels: "各通道的范数", shown: "图中每 {stride} 行列取一",
    trail: "追踪：{name}", stop: "停止追踪", value: "它的数值是 {value}。", mean_value: "它们的平均值是 {value}。", gradient: "梯度",
    part: "其梯度经过此处的部分", sources: "来自步骤", through: "主要经过（y 的单位变化 · ∂L/∂y）",
    parts: "把该数增大 h，后面某个输出的元素 y 会变化 h 的若干倍，进而改变损失。一个输出的所有元素合起来，就是经过此处的部分；分岔处各条路的部分相加。图中加框的是至少有十分之一经过的步骤。",
    no_parts: "它的梯度有多少经过每一步，未曾算出：制作页面时只为选定的一个数计算（nnmed explain --pixel 行,列）。",
    follow: "追踪 {place} 直到损失", together: "“:”表示全部，它们一起增大。",
    region: "至多能到达之处", whole: "可能是任何位置", norm: "范数", mean: "均值", zeros: "零的比例", smallest: "最小",
    largest: "最大", not_kept: "未知", graph: "计算图", zoom_in: "放大", zoom_out: "缩小",
    zoom_all: "显示全部",
    hint: "点击一个像素或权重，沿整条链追踪它。用方向键逐步移动。",
    effect: "它的梯度是 {gradient}：把它增大一点 h，损失就变化 {gradient} h。",
  },
};

let language = (navigator.language || "en").startsWith("zh") ? "zh" : "en";

function text(key, places = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => places[name]);
}
