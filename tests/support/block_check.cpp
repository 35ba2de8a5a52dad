#include "support/block_check.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <new>

namespace sherd::test {

Buffer::Buffer(Shape shape, DType type) : shape_(shape), type_(type) {
  const Bytes bytes = View{nullptr, shape, type}.bytes();
  if (bytes != 0)
    data_.reset(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{64})));
  spoil();
}
void Buffer::Free::operator()(std::byte* data) const {
  ::operator delete (data, std::align_val_t{64});
}
void Buffer::spoil() {
  if (data_) std::memset(data_.get(), 0xff, view().bytes());
}
std::vector<std::byte> Buffer::bytes() const {
  const auto raw = view().raw();
  return {raw.begin(), raw.end()};
}

std::vector<double> Buffer::values() const {
  std::vector<double> values;
  const View v = view();
  for (std::int64_t i = 0; i < (v ? v.numel() : 0); ++i) {
    if (type_ == DType::f32) values.push_back(v.as<float>()[i]);
    if (type_ == DType::bf16) values.push_back(to_float(v.as<bfloat16>()[i]));
    if (type_ == DType::f16) values.push_back(to_float(v.as<float16>()[i]));
    if (type_ == DType::i32) values.push_back(v.as<std::int32_t>()[i]);
  }
  return values;
}
void Buffer::set(const std::vector<double>& values) {
  const View v = view();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<float>(values[i]);
    if (type_ == DType::f32) v.as<float>()[i] = x;
    if (type_ == DType::bf16) v.as<bfloat16>()[i] = to_bfloat16(x);
    if (type_ == DType::f16) v.as<float16>()[i] = to_float16(x);
    if (type_ == DType::i32) v.as<std::int32_t>()[i] = static_cast<std::int32_t>(values[i]);
  }
}
void Buffer::normal(std::uint32_t seed, double mean, double stddev) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> draw(mean, stddev);
  std::vector<double> values(static_cast<std::size_t>(shape_.numel()));
  for (double& value : values) value = draw(engine);
  set(values);
}

Rig::Rig(Model& model, std::size_t index, RigOptions options)
    : whole(
          model::declare(model, {DeviceKind::cpu, options.compute, options.threads}, options.rows)),
      model_(model),
      index_(index),
      options_(options),
      stream_(std::make_unique<device::Stream>(options.threads)) {
  spec = whole.blocks.at(index);
  inputs = Buffer(options.rows, DType::i32);
  labels = Buffer(options.rows, DType::i32);
  std::mt19937 engine(3);
  for (Buffer* tokens : {&inputs, &labels}) {
    std::vector<double> values(static_cast<std::size_t>(options.rows.numel()));
    for (double& value : values)
      value = static_cast<double>(engine() % static_cast<std::uint32_t>(options.vocabulary));
    tokens->set(values);
  }
  const DType compute = options.compute;
  if (spec.in.numel() > 0) {
    in = Buffer(spec.in, compute);
    in.normal(1, 0.1, 1);
    d_in = Buffer(spec.in, compute);
  }
  out = Buffer(spec.out, compute);
  d_out = Buffer(spec.out, compute);
  d_out.normal(2, 0, 1);
  for (std::size_t i = 0; i < spec.params.size(); ++i) {
    const model::ParamSpec& param = whole.params[spec.params[i]];
    params.emplace_back(param.shape, compute);
    params.back().normal(10 + static_cast<std::uint32_t>(i), param.init.mean, 0.3);
    grads.emplace_back(param.shape, options.grad);
  }
  for (const model::SaveSpec& save : spec.saves) saves.emplace_back(save.shape, save.type);
}

namespace {
std::vector<View> views(const std::vector<Buffer>& buffers) {
  std::vector<View> views;
  for (const Buffer& buffer : buffers) views.push_back(buffer.view());
  return views;
}
}  // namespace

std::vector<Grad> Rig::grad_calls(Write mode) const {
  std::vector<Grad> calls;
  for (const Buffer& grad : grads)
    calls.push_back({grad.view(), mode, {5, static_cast<std::uint64_t>(calls.size())}});
  return calls;
}

void Rig::forward(bool training) {
  const Buffer scratch(spec.scratch_forward);
  const std::vector<View> p = views(params), s = views(saves);
  const Batch b = batch();
  model_.blocks.at(index_).block->forward(
      {*stream_, b, rng, in.view(), out.view(), scratch.view(), p, s, training});
}

void Rig::backward(Write mode, bool drop_cheap) {
  const Buffer scratch(spec.scratch_backward);
  std::vector<View> p = views(params);
  for (std::size_t i = 0; i < p.size(); ++i)
    if (!spec.backward_reads[i]) p[i] = {};
  const std::vector<View> s = views(saves);
  const auto lost = std::make_unique<bool[]>(s.size());
  for (std::size_t i = 0; i < s.size(); ++i) {
    lost[i] = drop_cheap && spec.saves[i].keep == Keep::cheap;
    if (lost[i]) saves[i].spoil();
  }
  const std::vector<Grad> g = grad_calls(mode);
  const Batch b = batch();
  model_.blocks.at(index_).block->backward({*stream_,
                                            b,
                                            rng,
                                            spec.save_input ? in.view() : View{},
                                            d_out.view(),
                                            d_in.view(),
                                            scratch.view(),
                                            p,
                                            s,
                                            {lost.get(), s.size()},
                                            g});
}

kernels::LossSum Rig::loss(bool training, float scale, double nominal) {
  kernels::LossSum sums;
  const Buffer scratch(training ? spec.scratch_backward : spec.scratch_forward);
  const std::vector<View> p = views(params);
  const std::vector<Grad> g = training ? grad_calls(Write::set) : std::vector<Grad>{};
  const Batch b = batch();
  model_.head->loss({*stream_, b, in.view(), training ? d_in.view() : View{}, scratch.view(), p, g,
                     training ? &scale : nullptr, nominal, &sums});
  return sums;
}

void Rig::logits() {
  const Buffer scratch(spec.scratch_forward);
  const std::vector<View> p = views(params);
  const Batch b = batch();
  model_.head->logits({*stream_, b, rng, in.view(), out.view(), scratch.view(), p, {}});
}

std::vector<double> differences(const Scalar& f, Tensors tensors, std::size_t which) {
  std::vector<double> result;
  for (double& element : tensors.at(which)) {
    const double here = element, step = 1e-5;
    element = here + step;
    const double above = f(tensors);
    element = here - step;
    const double below = f(tensors);
    element = here;
    result.push_back((above - below) / (2 * step));
  }
  return result;
}

double error(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double most = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i]))
      return std::numeric_limits<double>::infinity();
    most = std::max(most, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return most == 0 ? 0 : most / size;
}

namespace {

Tensors tensors_of(const Rig& rig) {
  Tensors tensors{rig.in.values()};
  for (const Buffer& param : rig.params) tensors.push_back(param.values());
  return tensors;
}

using Compare = std::function<double(const std::vector<double>& ours, std::size_t which)>;

Worst worst_of(const Rig& rig, const Compare& compare) {
  Worst worst;
  for (std::size_t i = 0; i <= rig.params.size(); ++i) {
    const std::vector<double> ours = i == 0 ? rig.d_in.values() : rig.grads[i - 1].values();
    if (ours.empty()) continue;
    const double found = compare(ours, i);
    if (found >= worst.error)
      worst = {found, i == 0 ? "in" : rig.whole.params[rig.spec.params[i - 1]].name};
  }
  return worst;
}

double along(const Scalar& f, const Tensors& at, std::size_t which,
             const std::vector<double>& direction) {
  const double step = 1e-5;
  Tensors above = at, below = at;
  for (std::size_t i = 0; i < direction.size(); ++i) {
    above[which][i] += step * direction[i];
    below[which][i] -= step * direction[i];
  }
  return (f(above) - f(below)) / (2 * step);
}

}  // namespace

Worst check_gradients(const Rig& rig, const Scalar& f) {
  const Tensors tensors = tensors_of(rig);
  return worst_of(rig, [&](const std::vector<double>& ours, std::size_t which) {
    return error(ours, differences(f, tensors, which));
  });
}

Worst check_directions(const Rig& rig, const Scalar& f) {
  const Tensors tensors = tensors_of(rig);
  std::mt19937 engine(1);
  std::normal_distribution<double> draw;
  return worst_of(rig, [&](const std::vector<double>& ours, std::size_t which) {
    double square = 0, worst = 0;
    for (const double x : ours) square += x * x;
    const double norm = std::sqrt(square);
    for (int trial = 0; trial < 3; ++trial) {
      std::vector<double> direction = ours;
      double inner = 0;
      for (double& x : direction) x = trial == 0 ? x / norm : draw(engine);
      for (std::size_t i = 0; i < ours.size(); ++i) inner += ours[i] * direction[i];
      const double found = std::abs(inner - along(f, tensors, which, direction)) / norm;
      worst = std::isfinite(found) ? std::max(worst, found) : HUGE_VAL;
    }
    return worst;
  });
}

}  // namespace sherd::test
