'use strict';
{
  const all = (root, selector) => [...root.querySelectorAll(selector)];

  // Charts: the one along the chosen axis, in the chosen scale.
  const views = document.getElementById('views');
  views.addEventListener('change', () => {
    const chosen = new FormData(views);
    for (const figure of all(document, 'figure[data-along]')) {
      const { along, scale } = figure.dataset;
      figure.hidden = along !== chosen.get('along') || !scale.split(' ').includes(chosen.get('scale'));
    }
  });

  // Samples: the one at the slider's place.
  for (const slider of all(document, '[data-slider]')) {
    const section = slider.closest('section');
    const texts = all(section, '[data-step]');
    const show = () => {
      const { step } = texts[slider.value].dataset;
      texts.forEach((text, place) => { text.hidden = place !== Number(slider.value); });
      slider.setAttribute('aria-valuetext', `step ${step}`);
      section.querySelector('output').textContent = step;
    };
    slider.addEventListener('input', show);
    show();
  }

  // Neurons: a passage coloured by the chosen unit.
  const LEVELS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-';
  const MIDDLE = (LEVELS.length - 1) / 2;
  for (const select of all(document, '[data-units]')) {
    const section = select.closest('section');
    const symbols = all(section, '.passage > span');
    const around = (place) => {
      const text = (from, to) => symbols.slice(Math.max(0, from), to).map((symbol) => symbol.textContent).join('');
      return `“${text(place - 12, place)}[${symbols[place].textContent}]”`.replace(/\s+/g, ' ');
    };
    const show = () => {
      const unit = select.selectedOptions[0];
      if (!unit) return;
      const values = [...unit.dataset.levels].map((level) => LEVELS.indexOf(level) / MIDDLE - 1);
      values.forEach((value, place) => {
        const symbol = symbols[place];
        symbol.style.background = `rgba(var(${value < 0 ? '--cold' : '--warm'}), ${(0.75 * Math.abs(value)).toFixed(2)})`;
        symbol.title = (value * unit.dataset.scale).toFixed(2);
      });
      const order = values.map((_, place) => place).sort((a, b) => values[b] - values[a]);
      section.querySelector('.strongest').textContent =
        `${unit.textContent}. Between −${unit.dataset.scale} and ${unit.dataset.scale} here. ` +
        `Highest after ${order.slice(0, 3).map(around).join(', ')}; lowest after ${order.slice(-3).map(around).join(', ')}.`;
    };
    select.addEventListener('change', show);
    for (const button of all(section, '[data-pick]')) {
      button.addEventListener('click', () => {
        select.selectedIndex = Number(button.dataset.pick);
        show();
        select.scrollIntoView({ block: 'nearest' });
      });
    }
    show();
  }
}
