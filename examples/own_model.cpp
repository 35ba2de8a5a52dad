// A network of your own on a table of numbers, trained at any stage by flags:
//   own_model --data examples/data/waves.csv --steps 300 --lr 3e-3 --ranks 3 --zero-stage 3
#include <CLI/CLI.hpp>

#include "sherd/cli/options.hpp"
#include "sherd/cli/session.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/model/linear.hpp"
#include "sherd/model/mlp.hpp"

using namespace sherd;
constexpr std::int64_t width = 64;

// out = in + gelu(in)·weight + bias
struct Residual final : Block {
  void declare(Declare& d) const override {
    const Shape rows{d.rows().rows, width};
    d.input(rows);
    d.output(rows);
    d.param("weight", {width, width}, {0, 0.1f});
    d.param("bias", {1, width}, {0, 0});
    d.save("active", rows, d.target().compute, Keep::always);
    d.save_input();
    const Bytes products = model::linear_scratch({rows.rows, width, width}, d.target());
    d.scratch(products, products);
  }
  void forward(const Forward& f) override {
    kernels::gelu(f.in, f.saves[0], f.stream);
    model::linear({f.saves[0], f.params[0], f.params[1], f.out, f.scratch}, f.stream);
    kernels::add(f.in, f.out, f.out, f.stream);
  }
  void backward(const Backward& b) override {
    model::linear_backward(
        {b.saves[0], b.params[0], b.d_out, b.d_in, b.grads[0], b.grads[1], b.scratch}, b.stream);
    kernels::gelu_backward(b.in, b.d_in, b.d_in, b.stream);
    kernels::add(b.d_in, b.d_out, b.d_in, b.stream);
  }
};

launch::Job network(const launch::Validated& run) {
  launch::Job job = launch::table_job(run, {.labels = 1, .description = "two residuals of 64"});
  const std::int64_t columns = job.sample.input_cols;
  job.model.add<model::Features>("features", columns).add<model::Linear>("in", columns, width);
  job.model.add<Residual>("first").add<Residual>("second");
  job.model.add<model::Linear>("out", width, 1).end<model::SquaredErrorHead>(1);
  return job;
}

int main(int argc, char** argv) {
  CLI::App app("Trains a network of its own on a table whose last column is the label.");
  launch::RunConfig config;
  cli::add_run_options(app, config, {.needs_data = true});
  return cli::run(app, argc, argv, [&] { return cli::train(config, network); });
}
