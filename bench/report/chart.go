package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// chart is a small picture of numbers over a few named places on the x axis. It is readable on light and on dark pages.
type chart struct {
	title, x, y string
	labels      []string
	series      []series
	log         bool // the y axis is logarithmic
	bars        bool // bars instead of lines; the y axis begins at 0
}

// series is one line or one colour of bars. A value of 0 is not drawn.
type series struct {
	name   string
	color  string // a class of chartStyle: rouse, other, third
	dashed bool
	values []float64
}

// The picture and, inside of it, the plot, in pixels.
const (
	chartWidth, chartHeight = 720, 380
	plotLeft, plotRight     = 78, 700
	plotTop, plotBottom     = 78, 318
)

const chartStyle = `
    .page { fill: #ffffff; stroke: #d0d7de; }
    .title { fill: #1f2328; font-size: 15px; font-weight: 600; }
    .word { fill: #424a53; font-size: 12.5px; }
    .end { text-anchor: end; }
    .mid { text-anchor: middle; }
    .grid { stroke: #d8dee4; stroke-width: 1; }
    .axis { stroke: #57606a; stroke-width: 1; }
    .rouse { stroke: #0969da; fill: #0969da; }
    .other { stroke: #6e7781; fill: #6e7781; }
    .third { stroke: #bc4c00; fill: #bc4c00; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #30363d; }
      .title { fill: #e6edf3; }
      .word { fill: #b1bac4; }
      .grid { stroke: #262c34; }
      .axis { stroke: #8b949e; }
      .rouse { stroke: #58a6ff; fill: #58a6ff; }
      .other { stroke: #9da7b3; fill: #9da7b3; }
      .third { stroke: #f0883e; fill: #f0883e; }
    }
    .line { fill: none; stroke-width: 2; }
    .dashed { stroke-dasharray: 6 4; }
`

// svg draws it.
func (c chart) svg() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc"`,
		chartWidth, chartHeight, chartWidth, chartHeight)
	p(`     font-family="-apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif">`)
	p(`  <title id="title">%s</title>`, html.EscapeString(c.title))
	p(`  <desc id="desc">%s</desc>`, html.EscapeString(c.description()))
	p("  <style>%s  </style>", chartStyle)
	p(`  <rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`, chartWidth-1, chartHeight-1)
	p(`  <text class="title" x="20" y="28">%s</text>`, html.EscapeString(c.title))
	c.legend(p)
	scale := c.scale()
	for _, tick := range scale.ticks {
		y := scale.at(tick)
		p(`  <line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`, plotLeft, y, plotRight, y)
		p(`  <text class="word end" x="%d" y="%.1f">%s</text>`, plotLeft-8, y+4, short(tick))
	}
	p(`  <line class="axis" x1="%d" y1="%d" x2="%d" y2="%d"/>`, plotLeft, plotBottom, plotRight, plotBottom)
	for i, label := range c.labels {
		p(`  <text class="word mid" x="%.1f" y="%d">%s</text>`, c.place(i), plotBottom+20, html.EscapeString(label))
	}
	p(`  <text class="word mid" x="%d" y="%d">%s</text>`, (plotLeft+plotRight)/2, plotBottom+44, html.EscapeString(c.x))
	middle := (plotTop + plotBottom) / 2
	p(`  <text class="word mid" x="20" y="%d" transform="rotate(-90 20 %d)">%s</text>`, middle, middle, html.EscapeString(c.y))
	if c.bars {
		c.drawBars(p, scale)
	} else {
		c.drawLines(p, scale)
	}
	p("</svg>")
	return b.String()
}

// description says the numbers to those who do not see the picture.
func (c chart) description() string {
	var parts []string
	for _, s := range c.series {
		var values []string
		for i, v := range s.values {
			if v > 0 {
				values = append(values, c.labels[i]+": "+short(v))
			}
		}
		parts = append(parts, s.name+", "+c.y+" by "+c.x+": "+strings.Join(values, ", ")+".")
	}
	return strings.Join(parts, " ")
}

func (c chart) legend(p func(string, ...any)) {
	if len(c.series) < 2 {
		return
	}
	x := 20.0
	for _, s := range c.series {
		if c.bars {
			p(`  <rect class="%s" x="%.0f" y="44" width="22" height="10"/>`, s.color, x)
		} else {
			p(`  <line class="line %s%s" x1="%.0f" y1="49" x2="%.0f" y2="49"/>`, s.color, s.dash(), x, x+26)
		}
		p(`  <text class="word" x="%.0f" y="53">%s</text>`, x+32, html.EscapeString(s.name))
		x += 32 + 6.6*float64(len(s.name)) + 22
	}
}

func (s series) dash() string {
	if s.dashed {
		return " dashed"
	}
	return ""
}

// place is the x of a label.
func (c chart) place(i int) float64 {
	step := float64(plotRight-plotLeft) / float64(len(c.labels))
	return plotLeft + step*(float64(i)+0.5)
}

func (c chart) drawLines(p func(string, ...any), scale scale) {
	for _, s := range c.series {
		var points []string
		for i, v := range s.values {
			if v > 0 {
				points = append(points, fmt.Sprintf("%.1f,%.1f", c.place(i), scale.at(v)))
			}
		}
		p(`  <polyline class="line %s%s" points="%s"/>`, s.color, s.dash(), strings.Join(points, " "))
		for i, v := range s.values {
			if v > 0 {
				p(`  <circle class="%s" cx="%.1f" cy="%.1f" r="3.5"><title>%s, %s: %s</title></circle>`,
					s.color, c.place(i), scale.at(v), html.EscapeString(s.name), html.EscapeString(c.labels[i]), short(v))
			}
		}
	}
}

func (c chart) drawBars(p func(string, ...any), scale scale) {
	width := float64(plotRight-plotLeft) / float64(len(c.labels)) * 0.7 / float64(len(c.series))
	for n, s := range c.series {
		for i, v := range s.values {
			if v <= 0 {
				continue
			}
			x := c.place(i) + width*(float64(n)-float64(len(c.series))/2)
			p(`  <rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, s.color, x+1, scale.at(v), width-2, plotBottom-scale.at(v))
			p(`  <text class="word mid" x="%.1f" y="%.1f">%s</text>`, x+width/2, scale.at(v)-5, short(v))
		}
	}
}

// scale is the y axis.
type scale struct {
	low, high float64
	log       bool
	ticks     []float64
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log(low), math.Log(high), math.Log(v)
	}
	return plotBottom - (v-low)/(high-low)*(plotBottom-plotTop)
}

// scale takes round numbers around the values.
func (c chart) scale() scale {
	low, high := math.Inf(1), 0.0
	for _, s := range c.series {
		for _, v := range s.values {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return scale{low: 0, high: 1, ticks: []float64{0, 1}}
	}
	if !c.log {
		step := roundUp(high / 5)
		s := scale{high: step * math.Ceil(high*1.04/step)}
		for n := 0; float64(n)*step <= s.high*1.001; n++ {
			s.ticks = append(s.ticks, float64(n)*step)
		}
		return s
	}
	s := scale{log: true, low: roundDown(low), high: roundUp(high)}
	for decade := math.Pow(10, math.Floor(math.Log10(s.low))); decade <= s.high; decade *= 10 {
		for _, f := range []float64{1, 2, 5} {
			if v := decade * f; v >= s.low*0.999 && v <= s.high*1.001 {
				s.ticks = append(s.ticks, v)
			}
		}
	}
	return s
}

// roundUp and roundDown go to the next 1, 2 or 5 times a power of ten.
func roundUp(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if decade*f >= v*0.999 {
			return decade * f
		}
	}
	return decade * 10
}

func roundDown(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{5, 2} {
		if decade*f <= v*1.001 {
			return decade * f
		}
	}
	return decade
}

// short writes a number with three digits that count, and thousands as k.
func short(v float64) string {
	switch {
	case v >= 10_000_000:
		return strconv.FormatFloat(v/1e6, 'f', -1, 64) + "M"
	case v >= 10_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
	}
}
