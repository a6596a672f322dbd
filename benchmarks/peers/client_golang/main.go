// Exposes the series of a text file with client_golang: the peer of the scrape benchmark.
//
//	client_golang FILE ADDRESS
//
// FILE is what /metrics of the exporter answers. Ages are computed at each scrape, as there.
package main

import (
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// age is a gauge that counts the seconds since a moment.
type age struct {
	gauge prometheus.Gauge
	since time.Time
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(file)
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	var ages []age
	for _, family := range families {
		ages = append(ages, register(registry, family)...)
	}
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		for _, each := range ages {
			each.gauge.Set(time.Since(each.since).Seconds())
		}
		metrics.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, nil))
}

func register(registry *prometheus.Registry, family *dto.MetricFamily) (ages []age) {
	name, help := family.GetName(), family.GetHelp()
	names := labelNames(family)
	var histograms *prometheus.HistogramVec
	var counters *prometheus.CounterVec
	var gauges *prometheus.GaugeVec
	switch family.GetType() {
	case dto.MetricType_HISTOGRAM:
		var buckets []float64
		for _, bucket := range family.Metric[0].Histogram.Bucket {
			buckets = append(buckets, bucket.GetUpperBound())
		}
		options := prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
		histograms = prometheus.NewHistogramVec(options, names)
		registry.MustRegister(histograms)
	case dto.MetricType_COUNTER:
		counters = prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names)
		registry.MustRegister(counters)
	default:
		gauges = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names)
		registry.MustRegister(gauges)
	}
	for _, metric := range family.Metric {
		labels := prometheus.Labels{}
		for _, pair := range metric.Label {
			labels[pair.GetName()] = pair.GetValue()
		}
		switch {
		case histograms != nil:
			histograms.With(labels).Observe(metric.Histogram.GetSampleSum())
		case counters != nil:
			counters.With(labels).Add(metric.GetCounter().GetValue())
		default:
			value := metric.GetGauge().GetValue()
			gauge := gauges.With(labels)
			gauge.Set(value)
			if strings.HasSuffix(name, "_age_seconds") {
				since := time.Now().Add(-time.Duration(value * float64(time.Second)))
				ages = append(ages, age{gauge, since})
			}
		}
	}
	return ages
}

func labelNames(family *dto.MetricFamily) (names []string) {
	for _, pair := range family.Metric[0].Label {
		names = append(names, pair.GetName())
	}
	return names
}
