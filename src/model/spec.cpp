#include "sherd/model/spec.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "sherd/base/errors.hpp"

namespace sherd::model {
namespace {

class Recorder final : public Declare {
 public:
  Recorder(ModelSpec& spec, std::string name) : spec_(spec), index_(spec.blocks.size()) {
    block_.layer = name.substr(0, name.find('.'));
    block_.name = std::move(name);
  }

  const Target& target() const override { return spec_.target; }
  Shape rows() const override { return spec_.rows; }
  void input(Shape shape) override { block_.in = shape; }
  void output(Shape shape) override { block_.out = shape; }

  ParamId param(std::string_view name, Shape shape, Init init) override {
    expects(shape.rows > 0 && shape.cols > 0,
            block_.name + ": parameter " + std::string(name) + " has no elements");
    const std::string full = block_.name + "." + std::string(name);
    expects(find(full) == spec_.params.size(), "declare: parameter " + full + " is declared twice");
    spec_.params.push_back({full, shape, init, index_});
    return use(spec_.params.size() - 1);
  }
  ParamId tied(std::string_view block, std::string_view name) override {
    const std::string full = std::string(block) + "." + std::string(name);
    const std::size_t at = find(full);
    expects(at < spec_.params.size(),
            block_.name + ": tied parameter " + full + " is not declared by an earlier block");
    return use(at);
  }
  void backward_reads(std::initializer_list<ParamId> params) override {
    block_.backward_reads.assign(block_.params.size(), false);
    for (const ParamId id : params) block_.backward_reads.at(static_cast<std::size_t>(id)) = true;
    stated_ = true;
  }
  SaveId save(std::string_view name, Shape shape, DType type, Keep keep) override {
    block_.saves.push_back({std::string(name), shape, type, keep});
    return static_cast<SaveId>(block_.saves.size() - 1);
  }
  void save_input() override { block_.save_input = true; }
  void random() override { block_.random = true; }
  void scratch(Bytes forward, Bytes backward) override {
    block_.scratch_forward = forward;
    block_.scratch_backward = backward;
  }

  BlockSpec finish() {
    if (!stated_) block_.backward_reads.assign(block_.params.size(), true);
    block_.backward_reads.resize(block_.params.size(), true);
    return std::move(block_);
  }

 private:
  std::size_t find(const std::string& full) const {
    const auto at = std::find_if(spec_.params.begin(), spec_.params.end(),
                                 [&](const ParamSpec& p) { return p.name == full; });
    return static_cast<std::size_t>(at - spec_.params.begin());
  }
  ParamId use(std::size_t param) {
    block_.params.push_back(param);
    return static_cast<ParamId>(block_.params.size() - 1);
  }

  ModelSpec& spec_;
  std::size_t index_;
  BlockSpec block_;
  bool stated_ = false;
};

void check_chain(const ModelSpec& spec) {
  for (std::size_t i = 1; i < spec.blocks.size(); ++i) {
    const BlockSpec& from = spec.blocks[i - 1];
    const BlockSpec& to = spec.blocks[i];
    expects(to.in == from.out, "declare: " + to.name + " takes [" + std::to_string(to.in.rows) +
                                   ", " + std::to_string(to.in.cols) + "], but " + from.name +
                                   " gives [" + std::to_string(from.out.rows) + ", " +
                                   std::to_string(from.out.cols) + "]");
  }
}

// Frozen parameters come first, so that neither kind interrupts the other's buckets.
void freeze(ModelSpec& spec, const std::function<bool(std::string_view)>& frozen) {
  std::vector<std::size_t> order(spec.params.size()), place(spec.params.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_partition(order.begin(), order.end(),
                        [&](std::size_t p) { return frozen(spec.params[p].name); });
  std::vector<ParamSpec> params;
  for (std::size_t at = 0; at < order.size(); ++at) {
    place[order[at]] = at;
    params.push_back(std::move(spec.params[order[at]]));
    params.back().trainable = !frozen(params.back().name);
  }
  spec.params = std::move(params);
  for (BlockSpec& block : spec.blocks) {
    for (std::size_t& param : block.params) param = place[param];
  }
}

}  // namespace

std::uint64_t ModelSpec::parameters() const {
  std::uint64_t sum = 0;
  for (const ParamSpec& param : params) sum += static_cast<std::uint64_t>(param.shape.numel());
  return sum;
}

std::uint64_t ModelSpec::trainable() const {
  std::uint64_t sum = 0;
  for (const ParamSpec& param : params)
    sum += param.trainable ? static_cast<std::uint64_t>(param.shape.numel()) : 0;
  return sum;
}

bool ModelSpec::trains(std::size_t block) const {
  return std::ranges::any_of(blocks[block].params,
                             [&](std::size_t param) { return params[param].trainable; });
}

ModelSpec declare(const Model& model, const Target& target, Shape rows) {
  expects(model.head != nullptr, "declare: the model has no head");
  expects(!model.blocks.empty(), "declare: the model has no blocks");
  ModelSpec spec{target, rows, {}, {}};
  for (const Model::Entry& entry : model.blocks) {
    const bool taken = std::any_of(spec.blocks.begin(), spec.blocks.end(),
                                   [&](const BlockSpec& b) { return b.name == entry.name; });
    expects(!taken && entry.name != "head", "declare: block name " + entry.name + " is used twice");
    Recorder recorder(spec, entry.name);
    entry.block->declare(recorder);
    spec.blocks.push_back(recorder.finish());
  }
  Recorder recorder(spec, "head");
  model.head->declare(recorder);
  spec.blocks.push_back(recorder.finish());
  expects(!spec.params.empty(), "declare: the model has no parameters");
  check_chain(spec);
  if (model.frozen) freeze(spec, model.frozen);
  return spec;
}

}  // namespace sherd::model
