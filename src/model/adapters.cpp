#include "model/adapters.hpp"

#include <algorithm>
#include <cmath>

#include "model/carver.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/matmul.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {

Adapters::Adapters(const LoraConfig& config, std::int64_t in,
                   std::initializer_list<AdapterSite> sites, Start start)
    : config_(config), in_(in), at_(start) {
  for (const AdapterSite& site : sites) {
    if (config.at(site.name)) sites_.push_back(site);
  }
}

// B starts at zero, so that the network starts as the frozen one; A as wide as PEFT's (uniform
// within 1 / sqrt(in)).
void Adapters::declare(Declare& d, std::int64_t rows) const {
  for (const AdapterSite& site : sites_) {
    const std::string name(site.name);
    d.param(name + ".lora_a", {in_, config_.rank}, {0, 1 / std::sqrt(3 * static_cast<float>(in_))});
    d.param(name + ".lora_b", {config_.rank, site.columns}, {0, 0});
    d.save(name + ".lora", {rows, config_.rank}, d.target().compute);
  }
}

Bytes Adapters::scratch(std::int64_t rows, const Target& target) const {
  if (!any()) return 0;
  Bytes products = 0;
  for (const AdapterSite& site : sites_) {
    for (const LinearShape& shape :
         {LinearShape{rows, in_, config_.rank}, LinearShape{rows, config_.rank, site.columns}})
      products = std::max(products, linear_scratch(shape, target));
  }
  Carver carver;
  carver.take({rows, config_.rank}, target.compute);
  carver.take(products);
  return carver.used();
}

void Adapters::add_to(View out, View x, const Forward& f) const {
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const View a = f.params[at_.param + 2 * i], b = f.params[at_.param + 2 * i + 1];
    const View narrow = f.saves[at_.save + i];
    kernels::matmul({.a = x, .b = a, .out = narrow, .scratch = f.scratch}, f.stream);
    kernels::scale(narrow, config_.scale(), f.stream);
    kernels::matmul({.a = narrow,
                     .b = b,
                     .out = out.columns(sites_[i].first, sites_[i].columns),
                     .mode = Write::add,
                     .scratch = f.scratch},
                    f.stream);
  }
}

void Adapters::backward(View d_out, View x, View d_in, const Backward& b, View tool) const {
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const std::size_t param = at_.param + 2 * i;
    const View narrow = b.saves[at_.save + i];
    const View slope = d_out.columns(sites_[i].first, sites_[i].columns);
    Carver carver(tool);
    const View d_narrow = carver.take(narrow.shape, narrow.type);
    const View rest = carver.rest();
    weight_gradient({narrow, slope, b.grads[param + 1], rest}, b.stream);
    kernels::matmul({.a = slope,
                     .b = b.params[param + 1],
                     .transpose_b = kernels::Transpose::yes,
                     .out = d_narrow,
                     .scratch = rest},
                    b.stream);
    kernels::scale(d_narrow, config_.scale(), b.stream);
    weight_gradient({x, d_narrow, b.grads[param], rest}, b.stream);
    if (!d_in) continue;
    kernels::matmul({.a = d_narrow,
                     .b = b.params[param],
                     .transpose_b = kernels::Transpose::yes,
                     .out = d_in,
                     .mode = Write::add,
                     .scratch = rest},
                    b.stream);
  }
}

}  // namespace sherd::model
